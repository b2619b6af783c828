import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import dropout, fused_attention
from jaxsed.models.attention import SelfAttention, attend, padding_bias
from jaxsed.models.plain_attention import kept_weights
from jaxsed.models.relative_bias import GatedBias, GateWeights, query_gate
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


def test_a_bias_is_added_to_the_scores_and_gets_its_gradient():
    def definition(query, key, value, bias):
        scores = jnp.einsum("bqhe,bkhe->bhqk", query, key) / np.sqrt(4) + bias
        return jnp.einsum("bhqk,bkhe->bqhe", jax.nn.softmax(scores), value)

    keys = jax.random.split(jax.random.key(2), 5)
    *operands, weight = (jax.random.normal(key, (2, 7, 3, 4)) for key in keys[:4])
    for shape in ((2, 3, 7, 7), (3, 7, 7), (2, 1, 1, 7)):
        bias = jax.random.normal(keys[4], shape)
        np.testing.assert_allclose(
            attend(*operands, bias), definition(*operands, bias), atol=2e-6
        )
        ours, theirs = (
            jax.grad(lambda *x, f=f: jnp.sum(f(*x) * weight), argnums=(0, 1, 2, 3))(
                *operands, bias
            )
            for f in (attend, definition)
        )
        for our, their in zip(ours, theirs):
            np.testing.assert_allclose(our, their, atol=4e-6)


def test_padding_is_not_attended_to():
    query, key, value = (
        jax.random.normal(key, (2, 7, 3, 4))
        for key in jax.random.split(jax.random.key(3), 3)
    )
    valid = jnp.arange(7) < jnp.array([[4], [7]])
    bias = padding_bias(valid)
    masked = attend(query, key, value, bias)
    alone = attend(query[:1, :4], key[:1, :4], value[:1, :4])
    np.testing.assert_allclose(masked[:1, :4], alone, atol=1e-6)
    np.testing.assert_allclose(masked[1], attend(query, key, value)[1], atol=1e-6)
    moved = attend(query, key.at[0, 4:].add(9.0), value.at[0, 4:].add(9.0), bias)
    np.testing.assert_array_equal(moved, masked)


def drawn_bias(heads, head_size, n_tokens):
    keys = jax.random.split(jax.random.key(5), 4)
    shapes = (head_size, 2), (2,), (heads,), (heads, n_tokens, n_tokens)
    *weights, table = (
        jax.random.normal(key, shape) for key, shape in zip(keys, shapes)
    )
    return GatedBias(GateWeights(*weights), table)


def test_a_bias_may_depend_on_the_queries():
    init = jax.nn.initializers.normal(0.5)
    module = SelfAttention(12, 3, True, init, "float32")
    tokens = jax.random.normal(jax.random.key(1), (2, 9, 12))
    params = drawn.params_for(module, tokens)
    gated = drawn_bias(heads=3, head_size=4, n_tokens=9)
    biased = module.apply(params, tokens, None, gated)
    qkv = tokens @ params["params"]["qkv"]["kernel"] + params["params"]["qkv"]["bias"]
    query, key, value = jnp.moveaxis(qkv.reshape(2, 9, 3, 3, 4), 2, 0)
    bias = query_gate(query, gated.weights)[..., None] * gated.table
    proj = params["params"]["proj"]
    for padding in (None, padding_bias(jnp.arange(9) < jnp.array([[4], [9]]))):
        both = bias if padding is None else bias + padding
        attended = attend(query, key, value, both).reshape(2, 9, 12)
        np.testing.assert_allclose(
            module.apply(params, tokens, padding, gated),
            attended @ proj["kernel"] + proj["bias"],
            atol=1e-5,
        )
    assert np.abs(biased - module.apply(params, tokens)).max() > 0.01


def on_a_tpu(monkeypatch):
    """Takes the TPU's branch everywhere, its kernels as plain JAX."""
    kernel = functools.partial(fused_attention.fused_attention, interpret=True)
    monkeypatch.setattr(fused_attention, "fused_attention", kernel)
    monkeypatch.setattr(
        jax.lax,
        "platform_dependent",
        lambda *x, default, tpu=None, **_: (tpu or default)(*x),
    )


@pytest.mark.parametrize("biased", [False, True])
def test_tpus_take_one_kernel_with_the_same_result(monkeypatch, biased):
    init = jax.nn.initializers.normal(0.05)
    module = SelfAttention(128, 2, True, init, "bfloat16", dropout=0.2)
    tokens = jax.random.normal(jax.random.key(1), (2, 19, 128))
    params = drawn.params_for(module.clone(dtype="float32"), tokens)
    gated = drawn_bias(heads=2, head_size=64, n_tokens=19) if biased else None

    def loss(params, gated):
        rngs = {"dropout": jax.random.key(6)}
        out = module.apply(params, tokens, None, gated, rngs=rngs)
        return jnp.mean(jnp.square(out.astype(jnp.float32)))

    def taken():
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, gated)

    plain = taken()
    on_a_tpu(monkeypatch)
    loss = functools.partial(loss)  # compiled anew
    mesh = jax.sharding.AbstractMesh((1, 1), ("data", "fsdp"))
    with jax.sharding.use_abstract_mesh(mesh):
        fused = taken()
    for our, their in zip(jax.tree.leaves(fused), jax.tree.leaves(plain)):
        scale = np.abs(their).max() + 1e-6
        np.testing.assert_allclose(our / scale, their / scale, atol=0.03)


def test_the_kernel_is_for_bfloat16_and_clips_without_padding_on_a_known_mesh():
    padding = jax.ShapeDtypeStruct((2, 1, 1, 19), jnp.float32)
    init = jax.nn.initializers.normal(0.05)
    one, three = (
        jax.sharding.AbstractMesh((size, 1), ("data", "fsdp")) for size in (1, 3)
    )
    for dtype, heads, bias, mesh, fused in (
        ("bfloat16", 2, None, one, True),
        ("bfloat16", 2, None, three, False),
        ("bfloat16", 2, None, None, False),
        ("bfloat16", 3, None, one, False),
        ("bfloat16", 2, padding, one, False),
        ("float32", 2, None, one, False),
    ):
        module = SelfAttention(128 // 2 * heads, heads, True, init, dtype)
        x = jax.ShapeDtypeStruct((2, 19, module.width), jnp.float32)
        params = jax.eval_shape(module.init, jax.random.key(0), x)
        with jax.sharding.use_abstract_mesh(mesh or jax.sharding.get_abstract_mesh()):
            lowered = jax.jit(module.apply).trace(params, x, bias)
        text = lowered.lower(lowering_platforms=("tpu",)).as_text()
        assert ("tpu_custom_call" in text) == fused


def test_dropout_takes_weights_after_the_softmax_and_scales_up_the_rest():
    *operands, weight = (
        jax.random.normal(key, (2, 7, 3, 4))
        for key in jax.random.split(jax.random.key(3), 4)
    )
    bias, seeds = jnp.arange(7.0), dropout.seeds(jax.random.key(4), (2, 3))
    kept = kept_weights(seeds, 7, 0.4)

    def definition(query, key, value):
        scores = jnp.einsum("bqhe,bkhe->bhqk", query, key) / np.sqrt(4) + bias
        weights = jnp.where(kept, jax.nn.softmax(scores) / 0.6, 0)
        return jnp.einsum("bhqk,bkhe->bqhe", weights, value)

    def ours(query, key, value):
        return attend(query, key, value, bias, dropout=0.4, seeds=seeds)

    np.testing.assert_allclose(ours(*operands), definition(*operands), atol=2e-6)
    gradients, expected = (
        jax.jit(jax.grad(lambda *x, f=f: jnp.sum(f(*x) * weight), argnums=(0, 1, 2)))(
            *operands
        )
        for f in (ours, definition)
    )
    for gradient, exact in zip(gradients, expected):
        np.testing.assert_allclose(gradient, exact, atol=4e-6)
    without = attend(*operands, bias, dropout=0.4)
    np.testing.assert_array_equal(without, attend(*operands, bias))


def test_dropout_is_active_with_a_key_only():
    init = jax.nn.initializers.normal(0.5)
    tokens = jax.random.normal(jax.random.key(1), (2, 9, 12))
    plain = SelfAttention(12, 3, True, init, "float32")
    dropping = plain.clone(dropout=0.5)
    params = drawn.params_for(plain, tokens)
    expected = plain.apply(params, tokens)
    np.testing.assert_array_equal(dropping.apply(params, tokens), expected)
    rngs = {"dropout": jax.random.key(2)}
    assert np.abs(dropping.apply(params, tokens, rngs=rngs) - expected).max() > 0.1


def test_the_projection_out_may_start_otherwise():
    init = jax.nn.initializers.normal(0.5)
    zeros = jax.nn.initializers.zeros
    module = SelfAttention(12, 3, True, init, "float32", proj_init=zeros)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 4, 12)))["params"]
    assert not np.any(params["proj"]["kernel"]) and np.any(params["qkv"]["kernel"])
