import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.gelu import gelu, gelu_by_erf

X = np.linspace(-12, 12, 4801)
BELOW = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in X])
SLOPE = BELOW + X * np.exp(-(X**2) / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("form", [gelu, gelu_by_erf])
def test_either_form_is_the_definition(form):
    x = jnp.asarray(X, jnp.float32)
    np.testing.assert_allclose(form(x), X * BELOW, atol=3e-6)
    gradient = jax.vmap(jax.grad(form))(x)
    np.testing.assert_allclose(gradient, SLOPE, atol=3e-6)


@pytest.mark.parametrize("form", [gelu, gelu_by_erf])
def test_bfloat16_is_rounded(form):
    x = jnp.asarray(X, jnp.bfloat16)
    assert form(x).dtype == jax.grad(lambda x: form(x).sum())(x).dtype == jnp.bfloat16
    exact = gelu(x.astype(jnp.float32))
    np.testing.assert_allclose(form(x).astype(jnp.float32), exact, rtol=0.02, atol=1e-3)


def test_float64_stays_exact():
    with jax.enable_x64(True):
        x = jnp.asarray(X)
        np.testing.assert_allclose(gelu_by_erf(x), X * BELOW, atol=1e-14)
        gradient = jax.vmap(jax.grad(gelu_by_erf))(x)
        np.testing.assert_allclose(gradient, SLOPE, atol=1e-14)
