import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.blocks import Block, layer_norm
from tests.test_models import drawn


def block(**options):
    init = nn.initializers.normal(0.1)
    return Block(8, 2, 16, True, init, options.pop("dtype", "float32"), **options)


@pytest.fixture
def tokens():
    return jax.random.normal(jax.random.key(0), (6, 5, 8))


def test_block_adds_its_branches_to_what_comes_in(tokens):
    params = drawn.params_for(block(), tokens)["params"]
    for last in (params["attn"]["proj"], params["mlp"]["fc2"]):
        last.update(jax.tree.map(jnp.zeros_like, dict(last)))
    np.testing.assert_array_equal(block().apply({"params": params}, tokens), tokens)


def test_gelu_is_exact(tokens):
    params = drawn.params_for(block(), tokens)["params"]
    mlp = params["mlp"]
    params["attn"]["proj"] = jax.tree.map(jnp.zeros_like, params["attn"]["proj"])
    hidden = layer_norm(None, "float32").apply({"params": params["norm2"]}, tokens)
    hidden = hidden @ mlp["fc1"]["kernel"] + mlp["fc1"]["bias"]
    gelu = hidden * (1 + jax.scipy.special.erf(hidden / jnp.sqrt(2.0))) / 2
    expected = tokens + gelu @ mlp["fc2"]["kernel"] + mlp["fc2"]["bias"]
    np.testing.assert_allclose(
        block().apply({"params": params}, tokens), expected, atol=1e-5
    )


def test_norm_statistics_survive_an_offset():
    # In bfloat16, and in float32 as E[x^2] - E[x]^2, this variance comes out as 0.
    values = 1000 + np.random.default_rng(0).normal(size=(1, 1, 512)) * 0.1
    norm = layer_norm(None, "float32")
    normed, _ = norm.init_with_output(jax.random.key(0), values.astype(np.float32))
    assert float(normed.std()) == pytest.approx(1, rel=0.01)
    wide = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 512)), jnp.bfloat16)
    normed, variables = layer_norm(None, "bfloat16").init_with_output(
        jax.random.key(0), wide
    )
    assert normed.dtype == jnp.bfloat16
    assert variables["params"]["scale"].dtype == jnp.float32


def test_dropping_needs_a_rate_and_a_key(tokens):
    params = drawn.params_for(block(), tokens)
    plain = block().apply(params, tokens)
    key = {"dropout": jax.random.key(2)}
    dropping = block(dropout=0.5)
    np.testing.assert_array_equal(block().apply(params, tokens, rngs=key), plain)
    np.testing.assert_array_equal(dropping.apply(params, tokens), plain)
    assert not np.allclose(dropping.apply(params, tokens, rngs=key), plain)


def test_drop_path_takes_whole_branches_of_single_clips(tokens):
    tokens = jnp.tile(tokens[:1], (64, 1, 1))
    module = block(drop_path=0.5)
    params = drawn.params_for(module, tokens)
    out = module.apply(params, tokens, rngs={"dropout": jax.random.key(2)})
    distinct = np.unique(np.asarray(out).reshape(64, -1).round(4), axis=0)
    # Attention dropped or not, MLP dropped or not.
    assert len(distinct) == 4
    untouched = np.isclose(out, tokens).all(axis=(1, 2)).mean()
    assert 0.1 < untouched < 0.45
