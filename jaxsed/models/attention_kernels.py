"""The kernels of `fused_attention`: a few clips, as many heads as fill 128 lanes.

Scores lie transposed, keys before queries, so that the softmax reduces over rows of
registers and not within them, and only operands as narrow as a head have to be turned.
Masking the other heads out of one operand of a product costs the matrix unit, which is
128 wide, no more than a head on its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from jaxsed.models import dropout

LANES = 128  # of a TPU's vector registers and matrix units
QKV = ("query", "key", "value")


def forward_kernel(refs: dict, head_size: int, rate: float) -> None:
    """Computes `attended`.

    Args:
        refs: By name: `query`, `key`, `value`, `attended` `[clips, s, 128]`; `seeds`
            `[clips, heads, 2]` or not; `table [heads, s, s]` and the gate's weights
            or none of them: `gate_rows [2 heads, 128]` (of each head two, zero at the
            others' features) and `gate_scalars [heads, 3]` (two biases, one scale).
        head_size: Features of a head.
        rate: Of dropout.
    """

    def one_clip(clip):
        query, key, value = (refs[name][clip] for name in QKV)
        query = _scaled(query, head_size)
        attended = jnp.zeros(query.shape[::-1], jnp.float32)
        gates = _gates(refs, clip)
        for head in range(LANES // head_size):
            own = _only(head, head_size, query)
            weights, total = _weights(refs, head, own, key, gates)
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
    own. The last axis of the grid counts the parts of `grad_qkv`. Of `gate_scalars` it
    gives the gradient by query, `grad_gate_scalars [3 heads, s]`.
    """
    # The three gradients are parts of one array: of three steps, the first computes
    # them, and each hands one over.
    part, first_clips = pl.program_id(2), pl.program_id(1) == 0

    if "table" in refs:

        @pl.when((part == 0) & first_clips)
        def _():
            for name in ("grad_table", "grad_gate_rows", "grad_gate_scalars"):
                refs[name][...] = jnp.zeros_like(refs[name])

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
        gates, grad_logits, grad_scalars = _gates(refs, clip), [], []
        for head in range(LANES // head_size):
            own = _only(head, head_size, query)
            weights, total = _weights(refs, head, own, key, gates)
            weights = weights * (1 / total)
            grad_weights = _dot(value, _only(head, head_size, grad), 1, 1)
            used = weights
            kept = _kept(refs, clip, head, weights.shape, rate)
            if kept is not None:
                used = jnp.where(kept, weights * (1 / (1 - rate)), 0.0)
                grad_weights = jnp.where(kept, grad_weights * (1 / (1 - rate)), 0.0)
            inner = jnp.sum(grad_weights * weights, axis=0, keepdims=True)
            grad_scores = weights * (grad_weights - inner)
            if gates:
                gate, table = gates[head], refs["table"][head]
                by_query = jnp.sum(grad_scores * table, axis=0, keepdims=True)
                refs["grad_table"][head] += grad_scores * gate.value
                grads = gate.gradients(by_query)
                grad_logits += grads[:2]
                grad_scalars += grads
            grad_scores = grad_scores.astype(query.dtype)
            out = _dot(used.astype(value.dtype), grad, 1, 0)
            grad_value = _into(grad_value, out, head, head_size, axis=1)
            out = _dot(grad_scores, query, 1, 0)
            grad_key = _into(grad_key, out, head, head_size, axis=1)
            out = _dot(key, grad_scores, 0, 0)
            grad_query = _into(grad_query, out, head, head_size, axis=0)
        grad_query = grad_query * head_size**-0.5
        if gates:
            grad_logits = jnp.concatenate(grad_logits).astype(query.dtype)
            rows = refs["gate_rows"][...].astype(query.dtype)
            grad_query = grad_query + _dot(rows, grad_logits, 0, 0)
            refs["grad_gate_rows"][...] += _dot(grad_logits, refs["query"][clip], 1, 0)
            refs["grad_gate_scalars"][...] += jnp.concatenate(grad_scalars)
        grads = grad_query.T, grad_key, grad_value
        for index, gradient in enumerate(grads):
            refs["parts"][index, clip] = gradient.astype(query.dtype)

    _for_each_clip(refs["query"], one_clip)


def _for_each_clip(ref, one_clip):
    jax.lax.fori_loop(0, ref.shape[0], lambda clip, _: one_clip(clip), None)


def _scaled(query, head_size):
    return (query.astype(jnp.float32) * head_size**-0.5).astype(query.dtype)


class _Gate(NamedTuple):
    """The gate of a head, `outer * (inner * scale - 1) + 2`, `[1, s]`."""

    outer: jax.Array
    inner: jax.Array
    scale: jax.Array

    @property
    def value(self):
        return self.outer * (self.inner * self.scale - 1) + 2

    def gradients(self, grad):
        """Of what the two sigmoids are taken of (and its biases), and of the scale."""
        outer, inner, scale = self
        by_outer = grad * (inner * scale - 1) * outer * (1 - outer)
        by_inner = grad * outer * scale * inner * (1 - inner)
        return [by_outer, by_inner, grad * outer * inner]


def _gates(refs, clip):
    """The gates of all heads; none where there is no table."""
    if "table" not in refs:
        return []
    query = refs["query"][clip]
    logits = _dot(refs["gate_rows"][...].astype(query.dtype), query, 1, 1)
    scalars = refs["gate_scalars"]
    return [
        _Gate(
            jax.nn.sigmoid(logits[2 * head : 2 * head + 1] + scalars[head, 0]),
            jax.nn.sigmoid(logits[2 * head + 1 : 2 * head + 2] + scalars[head, 1]),
            scalars[head, 2],
        )
        for head in range(len(logits) // 2)
    ]


def _weights(refs, head, query, key, gates):
    """Softmax weights `[keys, queries]` before they are divided by their sums."""
    scores = _dot(key, query, 1, 1)
    if gates:
        scores = scores + refs["table"][head] * gates[head].value
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
