import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.token_semantic import TAPS, TokenSemanticHead
from tests.test_models import drawn, numpy_htsat


@pytest.mark.parametrize("n_steps", [1, 2, 9])
def test_it_is_a_convolution_over_steps(n_steps):
    steps = np.random.default_rng(0).normal(size=(2, n_steps, 6)).astype(np.float32)
    head = TokenSemanticHead(4)
    params = drawn.params_for(head, jnp.asarray(steps))
    logits = jax.jit(head.apply)(params, steps)
    weights = {"kernel": params["params"]["taps"], "bias": params["params"]["bias"]}
    for clip, ours in zip(steps, logits):
        expected = numpy_htsat.token_semantic(clip, weights)
        np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_it_starts_as_the_originals_and_sums_in_float32():
    head, steps = TokenSemanticHead(64), jnp.ones((1, 4, 100), jnp.bfloat16)
    params = jax.jit(head.init)(jax.random.key(0), steps)
    bound = (TAPS * 100) ** -0.5
    for leaf in jax.tree.leaves(params):
        assert 0.9 * bound < np.abs(leaf).max() <= bound
    assert jax.jit(head.apply)(params, steps).dtype == jnp.float32
