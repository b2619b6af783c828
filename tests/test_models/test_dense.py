import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.dense import Dense, materialized, product, row_major, transposed
from tests.test_models import drawn


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_dense_layer_is_linens_with_the_same_parameters(use_bias):
    x = jax.random.normal(jax.random.key(0), (2, 5, 7))
    weight = jax.random.normal(jax.random.key(1), (2, 5, 3))
    ours, linens = Dense(3, use_bias), nn.Dense(3, use_bias)
    params = drawn.params_for(linens, x)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(lambda s: s.shape, shapes)
    np.testing.assert_allclose(
        ours.apply(params, x), linens.apply(params, x), atol=1e-6
    )
    gradients = [
        jax.grad(lambda p, x, m=m: jnp.sum(m.apply(p, x) * weight), argnums=(0, 1))(
            params, x
        )
        for m in (ours, linens)
    ]
    for our, their in zip(*map(jax.tree.leaves, gradients)):
        np.testing.assert_allclose(our, their, atol=1e-5)


def test_bfloat16_products_are_summed_in_float32():
    # 256 + 1 is 256 in bfloat16: a sum kept in it would lose every one.
    x = jnp.concatenate([jnp.full((1, 1), 256.0), jnp.ones((1, 256))], axis=1)
    params = {"params": {"kernel": jnp.ones((257, 1)), "bias": jnp.full((1,), 1.0)}}
    out = Dense(1, dtype="bfloat16").apply(params, x)
    assert out.dtype == jnp.bfloat16
    assert float(out[0, 0]) == 512.0  # of 513, rounded once
    gradients = jax.grad(
        lambda p: Dense(1, dtype="bfloat16").apply(p, x.T @ jnp.ones((1, 257)))[0, 0]
    )(params)
    assert gradients["params"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_done_for_the_layout_changes_no_value(dtype, compiled):
    x = jax.random.normal(jax.random.key(0), (2, 3, 4)).astype(dtype)
    wrap = jax.jit if compiled else lambda f: f
    np.testing.assert_array_equal(wrap(transposed)(x), x.swapaxes(1, 2))
    np.testing.assert_array_equal(wrap(row_major)(x), x)
    np.testing.assert_array_equal(wrap(materialized)(x), x)
    gradient = jax.grad(lambda x: jnp.sum(materialized(row_major(x)) ** 2))(x)
    np.testing.assert_array_equal(gradient, 2 * x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_accelerators_multiply_clips_as_they_are(monkeypatch, dtype):
    x, weight = (jax.random.normal(jax.random.key(i), (2, 5, 7)) for i in range(2))
    kernel = jax.random.normal(jax.random.key(2), (7, 7))
    x, kernel = x.astype(dtype), kernel.astype(dtype)

    def loss(x, kernel):
        return jnp.sum(product(x, kernel) * weight)

    found = jax.value_and_grad(loss, argnums=(0, 1))(x, kernel)

    def default_only(*operands, default, **platforms):
        return default(*operands)

    monkeypatch.setattr(jax.lax, "platform_dependent", default_only)
    direct = jax.value_and_grad(loss, argnums=(0, 1))(x, kernel)
    for our, their in zip(jax.tree.leaves(found), jax.tree.leaves(direct)):
        assert our.dtype == their.dtype
        np.testing.assert_allclose(
            our.astype(jnp.float32), their.astype(jnp.float32), rtol=1e-2, atol=1e-5
        )
