import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import pretext_losses
from jaxsed.errors import InputError


def patches(seed=0, shape=(3, 12, 7)):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def log_softmax(x, axis):
    x = x - x.max(axis=axis, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=axis, keepdims=True))


@pytest.mark.parametrize("over, axis", [("predictions", 1), ("patches", 0)])
def test_info_nce_is_the_formula_clip_by_clip(over, axis):
    predicted, true = patches(0), patches(1)
    nce, accuracy = pretext_losses.info_nce(predicted, true, over)
    for clip in range(len(true)):
        similarity = true[clip].astype(float) @ predicted[clip].T
        expected = -np.mean(np.diag(log_softmax(similarity, axis)))
        np.testing.assert_allclose(nce[clip], expected, rtol=1e-5)
        fitting = np.argmax(log_softmax(similarity, 1), axis=0)
        assert float(accuracy[clip]) == pytest.approx(np.mean(fitting == np.arange(12)))


def test_predictions_that_are_right_are_told_apart():
    true = 5 * np.linalg.qr(patches(shape=(3, 7, 7)))[0]  # orthonormal rows
    nce, accuracy = pretext_losses.info_nce(true, true)
    assert accuracy.tolist() == [1, 1, 1] and float(nce.max()) < 0.1
    _, swapped = pretext_losses.info_nce(np.roll(true, 1, axis=1), true)
    assert swapped.tolist() == [0, 0, 0]


def test_negatives_are_of_the_same_clip():
    predicted, true = patches(0), patches(1)
    whole = pretext_losses.info_nce(predicted, true)
    alone = pretext_losses.info_nce(predicted[1:2], true[1:2])
    for together, one in zip(whole, alone):
        np.testing.assert_allclose(together[1], one[0], rtol=1e-6)


def test_the_losses_are_float32_whatever_is_predicted():
    predicted, true = jnp.asarray(patches(0), jnp.bfloat16), patches(1)
    nce, accuracy = pretext_losses.info_nce(predicted, true)
    mse = pretext_losses.patch_mse(predicted, true)
    assert {nce.dtype, accuracy.dtype, mse.dtype} == {jnp.dtype("float32")}
    expected = np.mean((np.asarray(predicted, np.float32) - true) ** 2, axis=(1, 2))
    np.testing.assert_allclose(mse, expected, rtol=1e-5)


def test_large_values_have_finite_losses_and_gradients():
    predicted, true = 1e3 * patches(0), 1e3 * patches(1)

    def loss(predicted):
        return jnp.sum(pretext_losses.info_nce(predicted, true)[0])

    value, gradient = jax.value_and_grad(loss)(predicted)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_an_unknown_direction_is_refused():
    with pytest.raises(InputError, match="did you mean 'patches'"):
        pretext_losses.info_nce(patches(), patches(), "patch")
