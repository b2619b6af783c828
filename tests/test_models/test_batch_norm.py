import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.batch_norm import BatchNorm
from tests.test_models import drawn

RUNNING = ("mean", "var")
NORM = BatchNorm(epsilon=1e-3, momentum=0.25)


@pytest.fixture(scope="module")
def features():
    """`[b, t, f, d]` with an offset that a careless variance would drown in."""
    return 300 + np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def params(features):
    return drawn.params_for(NORM, features)["params"]


def normalised(x, mean, var, params, epsilon=1e-3):
    normed = (x.astype(np.float64) - mean) / np.sqrt(var + epsilon)
    return normed * params["scale"] + params["bias"]


def test_a_new_layer_only_divides_by_the_root_of_one_and_epsilon(features):
    variables = NORM.init(jax.random.key(0), features)
    assert set(variables) == {"params"}  # no collection that files would have to hold
    x = NORM.apply(variables, features)
    np.testing.assert_allclose(x, features / np.sqrt(1.001), rtol=1e-6)


def test_running_statistics_normalise_unless_updates_may_be_made(features, params):
    x = NORM.apply({"params": params}, features)
    expected = normalised(features, params["mean"], params["var"], params)
    np.testing.assert_allclose(x, expected, rtol=1e-5)


def test_batch_statistics_normalise_biased_and_are_recorded_unbiased(features, params):
    x, recorded = NORM.apply({"params": params}, features, mutable=["updates"])
    rows = features.reshape(-1, 6).astype(np.float64)
    expected = normalised(features, rows.mean(0), rows.var(0), params)
    np.testing.assert_allclose(x, expected, atol=1e-3)
    assert set(recorded["updates"]) == set(RUNNING)
    for name, batch in (("mean", rows.mean(0)), ("var", rows.var(0, ddof=1))):
        expected = 0.75 * params[name] + 0.25 * batch
        np.testing.assert_allclose(recorded["updates"][name], expected, rtol=1e-4)


def test_only_what_is_inside_counts(features, params):
    lengths = np.array([4, 1, 2])
    inside = np.arange(4) < lengths[:, None]
    polluted = np.where(inside[:, :, None, None], features, 1e4).astype(np.float32)
    x, recorded = NORM.apply(
        {"params": params}, polluted, inside[:, :, None, None], mutable=["updates"]
    )
    rows = features[inside].astype(np.float64)
    rows = rows.reshape(-1, 6)
    expected = normalised(features[inside], rows.mean(0), rows.var(0), params)
    np.testing.assert_allclose(x[inside], expected, atol=1e-3)
    expected = 0.75 * params["var"] + 0.25 * rows.var(0, ddof=1)
    np.testing.assert_allclose(recorded["updates"]["var"], expected, rtol=1e-4)


def test_a_single_row_is_recorded_as_finite(params):
    _, recorded = NORM.apply({"params": params}, jnp.ones((1, 6)), mutable=["updates"])
    np.testing.assert_allclose(recorded["updates"]["var"], 0.75 * params["var"])


@pytest.mark.parametrize("name", RUNNING)
def test_a_frozen_layer_goes_on_as_in_evaluation(features, params, name):
    frozen = {**dict.fromkeys(params, False), name: True}
    variables = {"params": params, "frozen": frozen}
    x, recorded = NORM.apply(variables, features, mutable=["updates"])
    assert not recorded
    np.testing.assert_array_equal(x, NORM.apply({"params": params}, features))


def test_frozen_scale_and_bias_do_not_hold_the_statistics_back(features, params):
    frozen = {"scale": True, "bias": True, "mean": False, "var": False}
    variables = {"params": params, "frozen": frozen}
    _, recorded = NORM.apply(variables, features, mutable=["updates"])
    assert set(recorded["updates"]) == set(RUNNING)


@pytest.mark.parametrize("mutable", [[], ["updates"]])
def test_running_statistics_have_no_gradient(features, params, mutable):
    def loss(params):
        x, recorded = NORM.apply({"params": params}, features, mutable=mutable)
        return jnp.sum(x**3) + sum(jnp.sum(leaf) for leaf in jax.tree.leaves(recorded))

    gradients = jax.grad(loss)(params)
    for name in RUNNING:
        np.testing.assert_array_equal(gradients[name], 0)
    assert np.all(gradients["scale"] != 0)


def test_gradients_pass_through_the_statistics_of_a_batch(features, params):
    def slope(mutable):
        def loss(offset):
            shifted = features + offset
            x, _ = NORM.apply({"params": params}, shifted, mutable=mutable)
            return jnp.mean(x)

        return abs(jax.grad(loss)(0.0))

    # What is added to all of a feature is taken away with the mean of the batch.
    assert slope(mutable=["updates"]) < 1e-5
    assert slope(mutable=[]) > 1e-2


def test_statistics_of_bfloat16_are_float32(features, params):
    norm = BatchNorm(epsilon=1e-3, momentum=0.25, dtype="bfloat16")
    x, recorded = norm.apply(
        {"params": params}, jnp.asarray(features, jnp.bfloat16), mutable=["updates"]
    )
    assert x.dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(recorded))
