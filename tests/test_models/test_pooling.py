import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.heads import LinearHead
from jaxsed.models.pooling import attention_pool
from tests import goldens
from tests.test_models import teachers


def definition(logits, weight_logits):
    """Probabilities, in float64, as the original takes them."""
    strong = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    weights = np.exp(np.asarray(weight_logits, np.float64))
    weights = np.clip(weights / weights.sum(axis=-1, keepdims=True), 1e-7, 1)
    return (strong * weights).sum(axis=1) / weights.sum(axis=1)


def drawn_logits(seed, shape=(3, 20, 7), scale=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=scale, size=(2, *shape)).astype(np.float32)


def test_pooling_is_the_original(atst_frame_aligned):
    golden, dtype = goldens.load("ATST-F"), atst_frame_aligned.dtype.name
    with jax.enable_x64(dtype == "float64"):
        params = teachers.linear_heads("ATST-F", dtype)
        logits, weight_logits = (
            LinearHead(447).apply({"params": params[name]}, atst_frame_aligned)
            for name in ("strong_head", "weak_head")
        )
        clip = jax.nn.sigmoid(attention_pool(logits, weight_logits))
        strong = jax.nn.sigmoid(logits).swapaxes(1, 2)
        tolerance = teachers.TOLERANCE[dtype]
        goldens.assert_close(golden, "net_att_strong", strong, tolerance)
        goldens.assert_close(golden, "net_att_weak", clip, tolerance)


def test_clip_logits_are_those_of_the_pooled_probability():
    logits, weight_logits = drawn_logits(0)
    weight_logits[0, :, 2] = -40  # never attended to: the smallest weight everywhere
    pooled = definition(logits, weight_logits)
    expected = np.log(pooled) - np.log1p(-pooled)
    np.testing.assert_allclose(
        attention_pool(logits, weight_logits), expected, atol=1e-5
    )


def test_certain_frames_give_finite_logits_and_gradients():
    logits = np.full((2, 5, 3), 200, np.float32)
    logits[1] = -200  # probabilities round to 1 and 0
    weight_logits = np.zeros_like(logits)
    clip = attention_pool(logits, weight_logits)
    np.testing.assert_allclose(clip, [[200] * 3, [-200] * 3], rtol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(attention_pool(x, weight_logits)))(logits)
    np.testing.assert_allclose(gradient, 1 / 5, rtol=1e-5)


def test_padding_has_no_part():
    logits, weight_logits = drawn_logits(1)
    n_frames = jnp.array([20, 11, 1])
    padded = attention_pool(logits, weight_logits, n_frames)
    for clip, length in enumerate(n_frames):
        alone = slice(clip, clip + 1), slice(None, int(length))
        np.testing.assert_allclose(
            padded[clip],
            attention_pool(logits[alone], weight_logits[alone])[0],
            atol=1e-5,
        )
    gradient = jax.grad(
        lambda x: jnp.sum(attention_pool(*x, n_frames)), allow_int=False
    )((logits, weight_logits))
    for values in gradient:
        assert np.isfinite(values).all()
        assert not values[1, 11:].any() and not values[2, 1:].any()


def test_a_clip_of_one_frame_is_that_frame():
    logits, weight_logits = drawn_logits(2, shape=(2, 1, 4))
    np.testing.assert_allclose(
        attention_pool(logits, weight_logits), logits[:, 0], rtol=1e-4
    )


@pytest.mark.parametrize("n_classes", [1, 447])
def test_constant_frames_pool_to_themselves(n_classes):
    logits = np.full((1, 250, n_classes), -2.5, np.float32)
    weight_logits = drawn_logits(3, shape=(1, 250, n_classes), scale=10)[0]
    np.testing.assert_allclose(attention_pool(logits, weight_logits), -2.5, rtol=1e-5)
