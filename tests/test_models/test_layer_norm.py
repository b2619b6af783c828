import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.layer_norm import LayerNorm, statistics


@pytest.fixture(scope="module")
def drawn():
    """Features with an offset, a scale and a bias."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = 3 + jax.random.normal(keys[0], (2, 5, 24))
    scale, bias = (jax.random.normal(key, (24,)) for key in keys[1:])
    return x, {"params": {"scale": 1 + scale, "bias": bias}}


def taken(module, variables, x):
    def loss(variables, x):
        normal = module.apply(variables, x)
        return jnp.sum(normal * jnp.cos(jnp.arange(x.size)).reshape(x.shape)), normal

    found = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    return jax.tree.leaves(found(variables, x))


def test_result_and_gradients_are_those_of_flax(drawn):
    x, variables = drawn
    theirs = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False)
    ours = LayerNorm(epsilon=1e-5, dtype="float32")
    for found, expected in zip(*(taken(m, variables, x) for m in (ours, theirs))):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_parameters_and_gradients_are_float32_beside_bfloat16_features(drawn):
    x, variables = drawn
    norm = LayerNorm(epsilon=1e-6, dtype="bfloat16")
    created = norm.init(jax.random.key(0), x)
    assert np.all(created["params"]["scale"] == 1)
    assert not np.any(created["params"]["bias"])
    rough = x.astype(jnp.bfloat16)
    ours = taken(norm, variables, rough)
    types = ["float32", "bfloat16", "float32", "float32", "bfloat16"]
    assert [str(array.dtype) for array in ours] == types
    exact = taken(norm.clone(dtype="float32"), variables, rough.astype(jnp.float32))
    for found, expected in zip(ours, exact):
        scale = np.abs(expected).max()
        found = np.asarray(found, np.float32)
        np.testing.assert_allclose(found / scale, expected / scale, atol=0.02)


@pytest.mark.parametrize("offset", [0, 100, 1e4])
def test_the_variance_of_bfloat16_features_is_as_precise_as_they_are(offset):
    exact = offset + np.random.default_rng(0).normal(size=(64, 768)) * (1 + offset / 50)
    rounded = jnp.asarray(exact, jnp.bfloat16)
    mean, deviation = statistics(rounded, 0.0)
    expected = np.asarray(rounded, np.float64)
    np.testing.assert_allclose(mean[:, 0], expected.mean(axis=1), rtol=1e-6, atol=1e-6)
    of_rounding = abs(expected.std(axis=1) / exact.std(axis=1) - 1).max()
    ours = abs(expected.std(axis=1) * deviation[:, 0] - 1).max()
    assert ours < max(of_rounding / 4, 1e-6)
