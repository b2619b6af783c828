"""Multi-head self-attention; the attention product itself is behind one function."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

NEVER = -1e30  # a score that softmax turns into exactly 0, also beside a bias


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
) -> jax.Array:
    """Scaled dot-product attention, `softmax(q k^T / sqrt(e) + bias) v`.

    Plain matrix products: at the 250 tokens of a clip they are faster on the CPU than
    `jax.nn.dot_product_attention`. Softmax runs in float32 (or better) whatever the
    type of the operands.

    Args:
        query: `[b, s, heads, e]`.
        key: `[b, s, heads, e]`.
        value: `[b, s, heads, e]`.
        bias: Added to the scores, of a shape that broadcasts to `[b, heads, s, s]`
            (queries before keys); float32. `padding_bias` masks by it.

    Returns:
        `[b, s, heads, e]` in the type of `value`.
    """
    scaled = query * query.shape[-1] ** -0.5
    # Heads beside clips: a product whose batch axes are not in front is slower on the
    # CPU (benchmarks/attention.py).
    by_head = [_materialized(jnp.swapaxes(x, 1, 2)) for x in (scaled, key, value)]
    if bias is not None:
        n_clips, heads, n_tokens = by_head[0].shape[:3]
        bias = jnp.broadcast_to(bias, (n_clips, heads, n_tokens, n_tokens))
    return jnp.swapaxes(_attend_by_head(*by_head, bias), 1, 2)


def padding_bias(valid: jax.Array) -> jax.Array:
    """A bias that keeps attention away from padding.

    Args:
        valid: bool `[b, s]`, at least one True in every clip.

    Returns:
        float32 `[b, 1, 1, s]`, for `attend`.
    """
    return jnp.where(valid, 0.0, NEVER)[:, None, None, :]


def _materialized(x: jax.Array) -> jax.Array:
    """On the CPU, keeps a transposition out of the matrix product that reads it.

    XLA fuses it into the operand, and the product then leaves the fast path.
    Accelerators transpose in the product for free.
    """
    return jax.lax.platform_dependent(
        x, cpu=jax.lax.optimization_barrier, default=lambda x: x
    )


@jax.custom_vjp
def _attend_by_head(query, key, value, bias):
    return _attend_forward(query, key, value, bias)[0]


def _attend_forward(query, key, value, bias):
    scores = _product(query, jnp.swapaxes(key, 2, 3))
    if bias is not None:
        scores = scores + bias.astype(scores.dtype)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    # Of the bias only its type is kept, if there is one.
    marker = None if bias is None else jnp.zeros((), bias.dtype)
    return weights @ value, (query, key, value, weights, marker)


def _attend_backward(residuals, grad):
    query, key, value, weights, marker = residuals
    grad = _materialized(grad)
    grad_value = _materialized(jnp.swapaxes(weights, 2, 3)) @ grad
    grad_weights = _product(grad, _materialized(jnp.swapaxes(value, 2, 3)))
    inner = jnp.sum(grad_weights * weights, axis=-1, keepdims=True)
    grad_scores = weights * (grad_weights - inner)
    grad_bias = None if marker is None else grad_scores.astype(marker.dtype)
    grad_scores = _materialized(grad_scores.astype(query.dtype))
    grad_query = grad_scores @ key
    grad_key = _materialized(jnp.swapaxes(grad_scores, 2, 3)) @ query
    return grad_query, grad_key, grad_value, grad_bias


_attend_by_head.defvjp(_attend_forward, _attend_backward)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product, summed in and given as float32 (or better)."""
    accumulate = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.matmul(a, b, preferred_element_type=accumulate)


# From the queries [b, s, heads, e] of a layer to its bias.
Bias = jax.Array | Callable[[jax.Array], jax.Array] | None


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
    def __call__(self, tokens: jax.Array, bias: Bias = None) -> jax.Array:
        """Attends over all tokens of a clip.

        Args:
            tokens: `[b, s, d]`.
            bias: See `attend`; or a function of the queries `[b, s, heads, e]`, before
                they are scaled, that gives it.

        Returns:
            `[b, s, d]`.
        """
        options = {"kernel_init": self.kernel_init, "dtype": self.dtype}
        qkv = nn.Dense(3 * self.width, use_bias=self.qkv_bias, name="qkv", **options)
        per_head = (*tokens.shape[:2], 3, self.heads, self.width // self.heads)
        query, key, value = jnp.moveaxis(qkv(tokens).reshape(per_head), 2, 0)
        bias = bias(query) if callable(bias) else bias
        attended = attend(query, key, value, bias).reshape(tokens.shape)
        return nn.Dense(self.width, name="proj", **options)(attended)
