"""Attention as plain matrix products: all clips together, or one after the other.

Together, a layer's scores are written down for all clips, and its weights are kept for
the backward pass. Where that is more than a CPU's caches hold, time goes into memory
rather than arithmetic: clips are then taken one by one, forward and backward, and the
backward pass computes each clip's weights again.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxsed.models import dropout as dropping
from jaxsed.models.dense import materialized, row_major, transposed

# Scores of more than this go through a CPU's memory rather than its caches (32 MiB;
# benchmarks/encoders.py).
CACHED_SCORES = 2**23
SCORES = "scores"  # the scope of their product, by which `operations` counts them


class Operands(NamedTuple):
    """What attention of some clips is made of; the first axis is that of clips.

    Attributes:
        query: `[b, heads, s, e]`, scaled.
        key: `[b, heads, s, e]`.
        value: `[b, heads, s, e]`.
        bias: Added to the scores, broadcasts to `[b, heads, s, s]`; or None.
        gate: float32 `[b, heads, s]`, by query: factor of the table; or None.
        seeds: int32 `[b, heads, 2]` for dropout; or None.
    """

    query: jax.Array
    key: jax.Array
    value: jax.Array
    bias: jax.Array | None = None
    gate: jax.Array | None = None
    seeds: jax.Array | None = None


def attend_by_head(
    operands: Operands, table: jax.Array | None = None, rate: float = 0.0
) -> jax.Array:
    """Returns `softmax(q k^T + bias + gate * table) v`, `[b, heads, s, e]`.

    Args:
        operands: What differs between clips.
        table: `[heads, s, s]`, queries before keys, added to the scores of all clips,
            as it is where there is no gate; or None.
        rate: At which attention weights are dropped where there are seeds.
    """
    n_clips, heads, n_tokens = operands.query.shape[:3]
    if n_clips * heads * n_tokens**2 <= CACHED_SCORES:
        return _together(operands, table, rate)
    if operands.bias is not None:
        by_clip = (n_clips, *operands.bias.shape[1:])
        operands = operands._replace(bias=jnp.broadcast_to(operands.bias, by_clip))
    return _frugal(operands, table, rate)


def kept_weights(seeds: jax.Array, n_tokens: int, rate: float) -> jax.Array:
    """Draws which attention weights dropout keeps.

    Args:
        seeds: int32 `[b, heads, 2]`.
        n_tokens: s.
        rate: At which weights are dropped.

    Returns:
        bool `[b, heads, s, s]`, queries before keys. Positions count keys before
        queries, as in `fused_attention`.
    """
    positions = dropping.positions((n_tokens, n_tokens)).T
    first, second = seeds[..., 0, None, None], seeds[..., 1, None, None]
    return dropping.keep(positions, (first, second), rate)


# ------------------------------------------------------------------- clips one by one


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _frugal(operands, table, rate):
    """Keeps nothing but its operands for the backward pass."""

    def one_by_one(operands, table):
        return jax.lax.map(lambda clip: _one(clip, table, rate), operands)

    def together(operands, table):
        return _together(operands, table, rate)

    return jax.lax.platform_dependent(operands, table, cpu=one_by_one, default=together)


def _frugal_forward(operands, table, rate):
    return _frugal(operands, table, rate), (operands, table)


def _frugal_backward(rate, residuals, grad):
    def one_by_one(operands, table, grad):
        def add(total, clip_and_grad):
            grads, grad_table = _pulled_back(_one, *clip_and_grad, table, rate)
            return jax.tree.map(jnp.add, total, grad_table), grads

        zeros = jax.tree.map(jnp.zeros_like, table)
        grad_table, grads = jax.lax.scan(add, zeros, (operands, grad))
        return grads, grad_table

    def together(operands, table, grad):
        return _pulled_back(_together, operands, grad, table, rate)

    return jax.lax.platform_dependent(
        *residuals, grad, cpu=one_by_one, default=together
    )


_frugal.defvjp(_frugal_forward, _frugal_backward)


def _one(clip, table, rate):
    return _together(jax.tree.map(lambda x: x[None], clip), table, rate)[0]


def _pulled_back(function, operands, grad, table, rate):
    """Returns the gradients of operands (None for seeds) and table."""

    def of_floats(operands, table):
        return function(operands._replace(seeds=seeds), table, rate)

    seeds, operands = operands.seeds, operands._replace(seeds=None)
    _, pull_back = jax.vjp(of_floats, operands, table)
    return pull_back(grad)


# --------------------------------------------------------------------------- together


def _together(operands, table, rate):
    query, key, value, bias, gate, seeds = operands
    n_clips, heads, n_tokens = query.shape[:3]
    if table is not None:
        shared = table if gate is None else gate[..., None] * table
        bias = shared if bias is None else shared + bias
    if bias is not None:
        bias = jnp.broadcast_to(bias, (n_clips, heads, n_tokens, n_tokens))
    if rate == 0 or seeds is None:
        return _products(query, key, value, bias, None)
    kept = kept_weights(seeds, n_tokens, rate)
    return _products(query, key, value, bias, kept) / (1 - rate)


@jax.custom_vjp
def _products(query, key, value, bias, kept):
    return _products_forward(query, key, value, bias, kept)[0]


def _products_forward(query, key, value, bias, kept):
    with jax.named_scope(SCORES):
        scores = _product(query, transposed(key))
    if bias is not None:
        scores = scores + bias.astype(scores.dtype)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    # Of the bias only its type is kept, if there is one.
    marker = None if bias is None else jnp.zeros((), bias.dtype)
    attended = _product(_dropped(weights, kept), value).astype(value.dtype)
    return attended, (query, key, value, weights, marker, kept)


def _products_backward(residuals, grad):
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


_products.defvjp(_products_forward, _products_backward)


def _dropped(weights, kept):
    return weights if kept is None else jnp.where(kept, weights, 0)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product, summed in and given as float32 (or better)."""
    accumulate = jnp.promote_types(a.dtype, jnp.float32)
    return jnp.matmul(a, b, preferred_element_type=accumulate)
