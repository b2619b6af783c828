"""The kernels of `fused_attention`: a few clips, as many heads as fill 128 lanes.

Scores lie transposed, keys before queries, so that the softmax reduces over rows of
registers and not within them, and only operands as narrow as a head have to be turned.
Masking the other heads out of one operand of a product costs the matrix unit, which is
128 wide, no more than a head on its own.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxsed.models import dropout

LANES = 128  # of a TPU's vector registers and matrix units
QKV = ("query", "key", "value")


def forward_kernel(refs: dict, head_size: int, rate: float) -> None:
    """Computes `attended`.

    Args:
        refs: By name: `query`, `key`, `value`, `attended` `[clips, s, 128]`; `gate`
            `[clips, heads, s]` and `table [heads, s, s]` or neither; `seeds`
            `[clips, heads, 2]` or not.
        head_size: Features of a head.
        rate: Of dropout.
    """

    def one_clip(clip):
        query, key, value = (refs[name][clip] for name in QKV)
        query = _scaled(query, head_size)
        attended = jnp.zeros(query.shape[::-1], jnp.float32)
        for head in range(LANES // head_size):
            own = _only(head, head_size, query)
            weights, total = _weights(refs, clip, head, own, key)
            kept = _kept(refs, clip, head, weights.shape, rate)
            weights = weights if kept is None else jnp.where(kept, weights, 0.0)
            out = _dot(value, weights.astype(value.dtype), 0, 0)
            out = out * (1 / (total * (1 - rate)))
            attended = _into(attended, out, head, head_size, axis=0)
        refs["attended"][clip] = attended.T.astype(query.dtype)

    _for_each_clip(refs["query"], one_clip)


def backward_kernel(refs: dict, head_size: int, rate: float) -> None:
    """Computes the gradients of all of them from `grad [clips, s, 128]`.

    Arguments are those of `forward_kernel`; `parts [3, clips, s, 128]` is memory of its
    own. The last axis of the grid counts the parts of `grad_qkv`.
    """
    # The three gradients are parts of one array: of three steps, the first computes
    # them, and each hands one over.
    part, first_clips = pl.program_id(2), pl.program_id(1) == 0

    if "table" in refs:

        @pl.when((part == 0) & first_clips)
        def _():
            refs["grad_table"][...] = jnp.zeros_like(refs["grad_table"])

    @pl.when(part == 0)
    def _():
        _gradients(refs, head_size, rate)

    refs["grad_qkv"][...] = refs["parts"][part]


def _gradients(refs, head_size, rate):
    def one_clip(clip):
        query, key, value = (refs[name][clip] for name in QKV)
        query = _scaled(query, head_size)
        grad = refs["grad"][clip]
        grad_key = grad_value = jnp.zeros(query.shape, jnp.float32)
        grad_query = grad_key.T
        for head in range(LANES // head_size):
            own = _only(head, head_size, query)
            weights, total = _weights(refs, clip, head, own, key)
            weights = weights * (1 / total)
            grad_weights = _dot(value, _only(head, head_size, grad), 1, 1)
            used = weights
            kept = _kept(refs, clip, head, weights.shape, rate)
            if kept is not None:
                used = jnp.where(kept, weights * (1 / (1 - rate)), 0.0)
                grad_weights = jnp.where(kept, grad_weights * (1 / (1 - rate)), 0.0)
            inner = jnp.sum(grad_weights * weights, axis=0, keepdims=True)
            grad_scores = weights * (grad_weights - inner)
            if "table" in refs:
                table, gate = refs["table"][head], refs["gate"][clip, head]
                by_query = jnp.sum(grad_scores * table, axis=0)
                refs["grad_gate"][clip, head] = by_query
                refs["grad_table"][head] += grad_scores * gate[None]
            grad_scores = grad_scores.astype(query.dtype)
            out = _dot(used.astype(value.dtype), grad, 1, 0)
            grad_value = _into(grad_value, out, head, head_size, axis=1)
            out = _dot(grad_scores, query, 1, 0)
            grad_key = _into(grad_key, out, head, head_size, axis=1)
            out = _dot(key, grad_scores, 0, 0)
            grad_query = _into(grad_query, out, head, head_size, axis=0)
        grads = grad_query.T * head_size**-0.5, grad_key, grad_value
        for index, gradient in enumerate(grads):
            refs["parts"][index, clip] = gradient.astype(query.dtype)

    _for_each_clip(refs["query"], one_clip)


def _for_each_clip(ref, one_clip):
    jax.lax.fori_loop(0, ref.shape[0], lambda clip, _: one_clip(clip), None)


def _scaled(query, head_size):
    return (query.astype(jnp.float32) * head_size**-0.5).astype(query.dtype)


def _weights(refs, clip, head, query, key):
    """Softmax weights `[keys, queries]` before they are divided by their sums."""
    scores = _dot(key, query, 1, 1)
    if "table" in refs:
        scores = scores + refs["table"][head] * refs["gate"][clip, head][None]
    weights = jnp.exp(scores - jnp.max(scores, axis=0, keepdims=True))
    return weights, jnp.sum(weights, axis=0, keepdims=True)


def _kept(refs, clip, head, shape, rate):
    if "seeds" not in refs:
        return None
    seeds = refs["seeds"][clip, head, 0], refs["seeds"][clip, head, 1]
    return dropout.keep(dropout.positions(shape), seeds, rate)


def _only(head, head_size, rows):
    """Zeroes the features `[s, 128]` of all other heads."""
    zeros = jnp.zeros(rows.shape, jnp.float32)
    alone = _into(zeros, rows.astype(jnp.float32), head, head_size, axis=1)
    return alone.astype(rows.dtype)


def _into(together, of_head, head, head_size, axis):
    """Takes over the features of one head."""
    feature = jax.lax.broadcasted_iota(jnp.int32, together.shape, axis)
    own = (feature >= head * head_size) & (feature < (head + 1) * head_size)
    return jnp.where(own, of_head, together)


def _dot(a, b, axis_a, axis_b):
    dimensions = (((axis_a,), (axis_b,)), ((), ()))
    return jax.lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)
