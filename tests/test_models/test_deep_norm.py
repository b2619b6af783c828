import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.deep_norm import DeepNormBlock, branch_gain, residual_scale
from tests import goldens
from tests.test_models import drawn


@pytest.fixture(scope="module")
def block():
    """A block of a deep encoder, so that its constants differ from 1; inputs."""
    tokens = jax.random.normal(jax.random.key(0), (2, 5, 48))
    relative_bias = jax.random.normal(jax.random.key(1), (3, 5, 5))
    return DeepNormBlock(48, 3, 96, depth=40, dtype="float32"), tokens, relative_bias


def test_alpha_is_the_originals():
    alpha = float(goldens.load("ops")["beats_alpha"])
    assert residual_scale(12) == pytest.approx(alpha)


def normed(tokens):
    tokens = tokens - tokens.mean(axis=-1, keepdims=True)
    return tokens / np.sqrt(np.square(tokens).mean(axis=-1, keepdims=True) + 1e-5)


def test_scaled_residuals_are_normed_after_each_branch(block):
    block, tokens, relative_bias = block
    params = drawn.params_for(block, tokens, relative_bias)["params"]
    # Branches that give one constant vector whatever they see.
    first, second = np.random.default_rng(0).normal(size=(2, 48))
    params["attn"]["proj"] = {"kernel": np.zeros((48, 48)), "bias": first}
    params["mlp"]["fc2"] = {"kernel": np.zeros((96, 48)), "bias": second}
    for name in ("norm1", "norm2"):
        params[name] = {"scale": np.ones(48), "bias": np.zeros(48)}
    alpha = 80**0.25
    middle = normed(alpha * np.asarray(tokens) + first)
    expected = normed(alpha * middle + second)
    result = jax.jit(block.apply)({"params": params}, tokens, relative_bias)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_the_relative_bias_directs_attention_and_padding_stops_it(block):
    block, tokens, relative_bias = block
    params = drawn.params_for(block, tokens, relative_bias)
    apply = jax.jit(block.apply)
    plain = apply(params, tokens, relative_bias)
    assert np.abs(apply(params, tokens, 0 * relative_bias) - plain).max() > 1e-3
    # The gate is positive: a bias far below 0 shuts off the last token.
    shut = apply(params, tokens, relative_bias.at[:, :, 4].set(-1e6))
    padding = jnp.zeros((1, 1, 1, 5)).at[..., 4].set(-1e30)
    padded = apply(params, tokens, relative_bias, padding)
    np.testing.assert_allclose(padded[:, :4], shut[:, :4], atol=1e-5)
    alone = apply(params, tokens[:, :4], relative_bias[:, :4, :4])
    np.testing.assert_allclose(padded[:, :4], alone, atol=1e-5)


def test_branches_start_small_and_queries_and_keys_do_not(block):
    block, tokens, relative_bias = block
    params = jax.jit(block.init)(jax.random.key(0), tokens, relative_bias)["params"]
    gain = branch_gain(40)
    assert gain == pytest.approx(320**-0.25)
    query, key, value = np.split(params["attn"]["qkv"]["kernel"], 3, axis=1)
    for kernel, expected in (
        (query, 1),
        (key, 1),
        (value, gain),
        (params["attn"]["proj"]["kernel"], gain),
        (params["mlp"]["fc1"]["kernel"], gain),
        (params["mlp"]["fc2"]["kernel"], gain),
    ):
        xavier = (2 / sum(kernel.shape)) ** 0.5
        assert np.std(kernel) == pytest.approx(expected * xavier, rel=0.07)
    for path in (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2")):
        assert not np.any(params[path[0]][path[1]]["bias"])


def test_dropout_is_on_both_branches_and_on_attention_with_a_key_only(block):
    plain, tokens, relative_bias = block
    params = drawn.params_for(plain, tokens, relative_bias)
    expected = plain.apply(params, tokens, relative_bias)
    rngs = {"dropout": jax.random.key(0)}
    for option in ("dropout", "attention_dropout"):
        dropping = plain.clone(**{option: 0.5})
        result = dropping.apply(params, tokens, relative_bias)
        np.testing.assert_array_equal(result, expected)
        result = dropping.apply(params, tokens, relative_bias, rngs=rngs)
        assert np.abs(result - expected).max() > 1e-2
