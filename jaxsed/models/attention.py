"""Multi-head self-attention; the attention product itself is behind one function."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.dense import Dense, materialized, row_major, transposed

# Scores of more than this go through a CPU's memory rather than its caches, where clips
# are then taken one by one (32 MiB; benchmarks/encoders.py).
CACHED_SCORES = 2**23
NEVER = -1e30  # a score that softmax turns into exactly 0, also beside a bias


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    dropout: float = 0.0,
    dropout_key: jax.Array | None = None,
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
        dropout: Rate at which attention weights are dropped, after the softmax.
        dropout_key: Random key for it; None for no dropout.

    Returns:
        `[b, s, heads, e]` in the type of `value`.
    """
    scaled = query * query.shape[-1] ** -0.5
    # Heads beside clips: a product whose batch axes are not in front is slower on the
    # CPU (benchmarks/attention.py).
    by_head = [row_major(jnp.swapaxes(x, 1, 2)) for x in (scaled, key, value)]
    n_clips, heads, n_tokens = by_head[0].shape[:3]
    pairs = (n_clips, heads, n_tokens, n_tokens)
    if bias is not None:
        bias = jnp.broadcast_to(bias, pairs)
    if dropout == 0 or dropout_key is None:
        return jnp.swapaxes(_attend_by_head(*by_head, bias, None), 1, 2)
    kept = jax.random.bernoulli(dropout_key, 1 - dropout, pairs)
    attended = _attend_by_head(*by_head, bias, kept) / (1 - dropout)
    return jnp.swapaxes(attended, 1, 2)


def padding_bias(valid: jax.Array) -> jax.Array:
    """A bias that keeps attention away from padding.

    Args:
        valid: bool `[b, s]`, at least one True in every clip.

    Returns:
        float32 `[b, 1, 1, s]`, for `attend`.
    """
    return jnp.where(valid, 0.0, NEVER)[:, None, None, :]


@jax.custom_vjp
def _attend_by_head(query, key, value, bias, kept):
    def together(*operands):
        return _attend_forward(*operands)[0]

    def clip_by_clip(*operands):
        def one(clip):
            return together(*jax.tree.map(lambda x: x[None], clip))[0]

        return jax.lax.map(one, operands)

    operands = query, key, value, bias, kept
    n_clips, heads, n_tokens = query.shape[:3]
    if n_clips * heads * n_tokens**2 <= CACHED_SCORES:
        return together(*operands)
    return jax.lax.platform_dependent(*operands, cpu=clip_by_clip, default=together)


def _attend_forward(query, key, value, bias, kept):
    scores = _product(query, transposed(key))
    if bias is not None:
        scores = scores + bias.astype(scores.dtype)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    # Of the bias only its type is kept, if there is one.
    marker = None if bias is None else jnp.zeros((), bias.dtype)
    attended = _product(_dropped(weights, kept), value).astype(value.dtype)
    return attended, (query, key, value, weights, marker, kept)


def _attend_backward(residuals, grad):
    query, key, value, weights, marker, kept = residuals
    grad = row_major(grad)
    grad_value = _product(transposed(_dropped(weights, kept)), grad)
    grad_weights = _dropped(_product(grad, transposed(value)), kept)
    inner = jnp.sum(grad_weights * weights, axis=-1, keepdims=True)
    grad_scores = weights * (grad_weights - inner)
    grad_bias = None if marker is None else grad_scores.astype(marker.dtype)
    grad_scores = materialized(grad_scores.astype(query.dtype))
    grad_query = _product(grad_scores, key).astype(query.dtype)
    grad_key = _product(transposed(grad_scores), query).astype(key.dtype)
    return grad_query, grad_key, grad_value.astype(value.dtype), grad_bias, None


_attend_by_head.defvjp(_attend_forward, _attend_backward)


def _dropped(weights, kept):
    return weights if kept is None else jnp.where(kept, weights, 0)


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
        proj_init: Initialiser of the projection out, where it is another one.
        dropout: Rate at which attention weights are dropped, where the caller passes a
            `dropout` key.
    """

    width: int
    heads: int
    qkv_bias: bool
    kernel_init: nn.initializers.Initializer
    dtype: Any
    proj_init: nn.initializers.Initializer | None = None
    dropout: float = 0.0

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
        qkv = Dense(
            3 * self.width,
            use_bias=self.qkv_bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="qkv",
        )
        per_head = (*tokens.shape[:2], 3, self.heads, self.width // self.heads)
        query, key, value = jnp.moveaxis(qkv(tokens).reshape(per_head), 2, 0)
        bias = bias(query) if callable(bias) else bias
        drops = self.dropout > 0 and self.has_rng("dropout")
        dropout_key = self.make_rng("dropout") if drops else None
        attended = attend(query, key, value, bias, self.dropout, dropout_key)
        return Dense(
            self.width,
            kernel_init=self.proj_init or self.kernel_init,
            dtype=self.dtype,
            name="proj",
        )(attended.reshape(tokens.shape))
