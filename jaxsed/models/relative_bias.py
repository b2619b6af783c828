"""Attention biases by the distance of two tokens, gated by the query.

Follows PretrainedSED's `models/beats/backbone.py` (`MultiheadAttention`); the gate is
that of WavLM (Chen et al., 2022).
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

GATE_OUTPUTS = 4  # of the gate's dense layer, summed for either of the two gates
INIT_STD = 0.02  # of table and gate, upstream's `init_bert_params`


class RelativeBias(nn.Module):
    """A bias for each head and each bucket of distances, shared by all blocks.

    Attributes:
        heads: Number of attention heads.
        n_buckets: Rows of the table.
        max_distance: Distance in tokens from which on all share the last bucket.
    """

    heads: int
    n_buckets: int
    max_distance: int

    @nn.compact
    def __call__(self, n_tokens: int) -> jax.Array:
        """The bias of all pairs of tokens: `[heads, s, s]`, queries before keys."""
        init = nn.initializers.normal(INIT_STD)
        table = self.param("table", init, (self.n_buckets, self.heads))
        # What lies n keys after the query, then (after one that is not read) before it.
        offsets = np.arange(2 * n_tokens)
        offsets = np.where(offsets < n_tokens, offsets, offsets - 2 * n_tokens)
        buckets = bucket_indices(offsets, self.n_buckets, self.max_distance)
        return toeplitz(table[buckets].T)


def bucket_indices(
    offsets: np.ndarray, n_buckets: int, max_distance: int
) -> np.ndarray:
    """Rows of the table for distances between tokens.

    One half of the buckets is for keys up to the query, the other one for keys after
    it. Half of either is exact, the rest grows logarithmically.

    Args:
        offsets: int `[...]`, position of the key minus that of the query.
        n_buckets: Number of buckets.
        max_distance: Distance from which on all share the last bucket.

    Returns:
        int `[...]`.
    """
    one_way = n_buckets // 2
    exact = one_way // 2
    distance = np.abs(offsets)
    # In float32, as upstream: in float64, distances at a border change buckets.
    octaves = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    octaves = octaves / np.float32(math.log(max_distance / exact))
    far = exact + (octaves * np.float32(one_way - exact)).astype(np.int64)
    bucket = np.where(distance < exact, distance, np.minimum(far, one_way - 1))
    return bucket + one_way * (offsets > 0)


def toeplitz(diagonals: jax.Array) -> jax.Array:
    """A matrix that depends on column minus row only, built without a gather.

    Reshaping does it, so that its gradient is a sum and not a scatter.

    Args:
        diagonals: `[..., 2 s]`; element n for the n-th diagonal above the main one,
            element -n for the n-th below it.

    Returns:
        `[..., s, s]`.
    """
    *batch, period = diagonals.shape
    size = period // 2
    rows = jnp.broadcast_to(diagonals[..., None, :], (*batch, size, period))
    # Rows that are one element shorter than the period begin one element earlier each.
    rows = rows.reshape(*batch, size * period)[..., : size * (period - 1)]
    return rows.reshape(*batch, size, period - 1)[..., :size]


class GateWeights(NamedTuple):
    """What `query_gate` makes factors of queries with.

    Attributes:
        kernel: float32 `[e, 2]`, from the query of a head to an outer and an inner gate.
        bias: float32 `[2]`, of either.
        scale: float32 `[heads]`, of the inner one.
    """

    kernel: jax.Array
    bias: jax.Array
    scale: jax.Array


class GatedBias(NamedTuple):
    """A bias `gate[b, h, q] * table[h, q, k]`, which is never written down as such.

    Attributes:
        weights: For the gate, `query_gate(query, weights)`.
        table: float32 `[heads, s, s]`, queries before keys; the same for all clips.
    """

    weights: GateWeights
    table: jax.Array


class QueryGate(nn.Module):
    """Learns the gate: one dense layer to `GATE_OUTPUTS` for either factor.

    Attributes:
        heads: Number of attention heads.
    """

    heads: int

    @nn.compact
    def __call__(self, head_size: int) -> GateWeights:
        """Returns the weights for queries of `head_size` features."""
        init = nn.initializers.normal(INIT_STD)
        kernel = self.param("kernel", init, (head_size, 2 * GATE_OUTPUTS))
        bias = self.param("bias", nn.initializers.zeros, (2 * GATE_OUTPUTS,))
        head_scale = self.param("head_scale", nn.initializers.ones, (self.heads,))
        # Sums of outputs are outputs of summed weights.
        kernel = kernel.reshape(head_size, 2, GATE_OUTPUTS).sum(-1)
        bias = bias.reshape(2, GATE_OUTPUTS).sum(-1)
        return GateWeights(kernel, bias, head_scale)


def query_gate(query: jax.Array, weights: GateWeights) -> jax.Array:
    """Factors of the relative bias, for each head and query.

    `g = a (b r - 1) + 2` with `(a, b) = sigmoid(dense(query))` and one learned `r` a
    head.

    Args:
        query: `[b, s, heads, e]`, before it is scaled.
        weights: From `QueryGate`.

    Returns:
        `[b, heads, s]` in float32 or better.
    """
    query = query.astype(jnp.promote_types(query.dtype, jnp.float32))
    outer, inner = jax.nn.sigmoid(
        jnp.einsum("bshe,eg->gbhs", query, weights.kernel)
        + weights.bias[:, None, None, None]
    )
    return outer * (inner * weights.scale[:, None] - 1) + 2
