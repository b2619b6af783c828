"""Multi-head self-attention; the attention product itself is behind one function."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Scaled dot-product attention, `softmax(q k^T / sqrt(e)) v`.

    Plain einsums: at the 250 tokens of a clip they are faster on the CPU than
    `jax.nn.dot_product_attention`. Softmax runs in float32 (or better) whatever the
    type of the operands.

    Args:
        query: `[b, s, heads, e]`.
        key: `[b, s, heads, e]`.
        value: `[b, s, heads, e]`.

    Returns:
        `[b, s, heads, e]` in the type of `value`.
    """
    accumulate = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum(
        "bqhe,bkhe->bhqk",
        query * query.shape[-1] ** -0.5,
        key,
        preferred_element_type=accumulate,
    )
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bhqk,bkhe->bqhe", weights, value)


class SelfAttention(nn.Module):
    """Multi-head self-attention with one fused projection to query, key and value.

    Attributes:
        width: Number of features in and out.
        heads: Number of heads; divides `width`.
        qkv_bias: Whether the fused projection has a bias.
        kernel_init: Initialiser of both projections.
        dtype: Type to compute in; parameters are float32.
    """

    width: int
    heads: int
    qkv_bias: bool
    kernel_init: nn.initializers.Initializer
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps tokens `[b, s, d]` to `[b, s, d]`."""
        options = {"kernel_init": self.kernel_init, "dtype": self.dtype}
        qkv = nn.Dense(3 * self.width, use_bias=self.qkv_bias, name="qkv", **options)
        per_head = (*tokens.shape[:2], 3, self.heads, self.width // self.heads)
        query, key, value = jnp.moveaxis(qkv(tokens).reshape(per_head), 2, 0)
        attended = attend(query, key, value).reshape(tokens.shape)
        return nn.Dense(self.width, name="proj", **options)(attended)
