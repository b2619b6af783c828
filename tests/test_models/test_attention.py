import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.attention import SelfAttention, attend
from tests.test_models import drawn


def test_attend_is_the_definition():
    keys = jax.random.split(jax.random.key(0), 3)
    q, k, v = (np.asarray(jax.random.normal(key, (2, 7, 3, 4))) for key in keys)
    attended = np.asarray(attend(q, k, v))
    for clip in range(2):
        for head in range(3):
            scores = q[clip, :, head] @ k[clip, :, head].T / np.sqrt(4)
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            expected = weights @ v[clip, :, head]
            np.testing.assert_allclose(attended[clip, :, head], expected, atol=1e-6)


def test_softmax_is_float32_for_bfloat16_operands():
    # Scores 256 and 257 are one number in bfloat16; their softmax weights differ by e.
    query = jnp.asarray([32.0, 2.0, 0, 0], jnp.bfloat16).reshape(1, 1, 1, 4)
    key = jnp.asarray([[16.0, 0, 0, 0], [16.0, 1, 0, 0]], jnp.bfloat16)
    value = jnp.asarray([[0.0] * 4, [1.0] * 4], jnp.bfloat16)
    key, value = key[None, :, None], value[None, :, None]
    attended = attend(query, key, value)
    assert attended.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(attended[0, 0, 0, 0]), 0.731, atol=3e-3)


def test_large_scores_do_not_overflow():
    query = jnp.full((1, 5, 1, 2), 1e4)
    np.testing.assert_allclose(attend(query, query, jnp.ones_like(query)), 1.0)


def test_projection_is_fused_and_bias_is_optional():
    init = jax.nn.initializers.normal(0.02)
    for qkv_bias in (False, True):
        module = SelfAttention(12, 3, qkv_bias, init, "float32")
        params = drawn.params_for(module, jnp.zeros((1, 4, 12)))["params"]
        assert params["qkv"]["kernel"].shape == (12, 36)
        assert ("bias" in params["qkv"]) == qkv_bias
        assert params["proj"]["bias"].shape == (12,)


def test_attention_does_not_know_the_order_of_tokens():
    init = jax.nn.initializers.normal(0.5)
    module = SelfAttention(12, 3, True, init, "float32")
    tokens = jax.random.normal(jax.random.key(1), (2, 9, 12))
    params = drawn.params_for(module, tokens)
    order = np.random.default_rng(0).permutation(9)
    np.testing.assert_allclose(
        module.apply(params, tokens[:, order]),
        module.apply(params, tokens)[:, order],
        atol=1e-5,
    )


def test_gradients_are_those_of_the_definition():
    def definition(query, key, value):
        scores = jnp.einsum("bqhe,bkhe->bhqk", query, key) / np.sqrt(4)
        return jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(scores), value)

    keys = jax.random.split(jax.random.key(2), 4)
    *operands, weight = (jax.random.normal(key, (2, 7, 3, 4)) for key in keys)
    ours, theirs = (
        jax.grad(lambda *x, f=f: jnp.sum(f(*x) * weight), argnums=(0, 1, 2))(*operands)
        for f in (attend, definition)
    )
    for our, their in zip(ours, theirs):
        np.testing.assert_allclose(our, their, atol=2e-6)
