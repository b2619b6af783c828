"""Multi-head self-attention; the attention product itself is behind one function."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models import dropout as dropping
from jaxsed.models.clipwise import can_split
from jaxsed.models.dense import Dense, row_major
from jaxsed.models.plain_attention import Operands, attend_by_head
from jaxsed.models.relative_bias import GatedBias, query_gate

NEVER = -1e30  # a score that softmax turns into exactly 0, also beside a bias


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    bias: jax.Array | None = None,
    dropout: float = 0.0,
    seeds: jax.Array | None = None,
    gated: GatedBias | None = None,
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
        seeds: int32 `[b, heads, 2]` for it, from `dropout.seeds`; None for no dropout.
        gated: A further bias, which depends on the queries.

    Returns:
        `[b, s, heads, e]` in the type of `value`.
    """
    scaled = query * query.shape[-1] ** -0.5
    # Heads beside clips: a product whose batch axes are not in front is slower on the
    # CPU (benchmarks/attention.py).
    by_head = [row_major(jnp.swapaxes(x, 1, 2)) for x in (scaled, key, value)]
    if bias is not None:
        bias = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
    gate = table = None
    if gated is not None:
        gate, table = query_gate(query, gated.weights), gated.table
    operands = Operands(*by_head, bias=bias, gate=gate, seeds=seeds)
    return jnp.swapaxes(attend_by_head(operands, table, dropout), 1, 2)


def padding_bias(valid: jax.Array) -> jax.Array:
    """A bias that keeps attention away from padding.

    Args:
        valid: bool `[b, s]`, at least one True in every clip.

    Returns:
        float32 `[b, 1, 1, s]`, for `attend`.
    """
    return jnp.where(valid, 0.0, NEVER)[:, None, None, :]


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
    def __call__(
        self,
        tokens: jax.Array,
        bias: jax.Array | None = None,
        gated: GatedBias | None = None,
    ) -> jax.Array:
        """Attends over all tokens of a clip.

        Args:
            tokens: `[b, s, d]`.
            bias: See `attend`.
            gated: A further bias, see `attend`.

        Returns:
            `[b, s, d]`.
        """
        fuses = bias is None and self._fuses(tokens.shape[0])
        qkv = Dense(
            3 * self.width,
            use_bias=self.qkv_bias,
            kernel_init=self.kernel_init,
            dtype=self.dtype,
            name="qkv",
        )(tokens)
        seeds = None
        if self.dropout > 0 and self.has_rng("dropout"):
            shape = (tokens.shape[0], self.heads)
            seeds = dropping.seeds(self.make_rng("dropout"), shape)
        if fuses:
            attended = jax.lax.platform_dependent(
                qkv, gated, seeds, tpu=self._fused, default=self._plain
            )
        else:
            attended = self._plain(qkv, gated, seeds, bias)
        return Dense(
            self.width,
            kernel_init=self.proj_init or self.kernel_init,
            dtype=self.dtype,
            name="proj",
        )(attended)

    def _fuses(self, n_clips):
        """Whether TPUs take one kernel; padded clips, in inference, take the plain way."""
        if jnp.dtype(self.dtype) != jnp.bfloat16 or not can_split(n_clips):
            return False
        from jaxsed.models import fused_attention

        return fused_attention.fits(self.width, self.heads)

    def _fused(self, qkv, gated, seeds):
        from jaxsed.models import fused_attention

        return fused_attention.fused_attention(
            qkv, self.heads, gated, seeds, self.dropout
        )

    def _plain(self, qkv, gated, seeds, bias=None):
        query, key, value = (self._per_head(x) for x in jnp.split(qkv, 3, axis=-1))
        attended = attend(query, key, value, bias, self.dropout, seeds, gated)
        return attended.reshape(*qkv.shape[:2], self.width)

    def _per_head(self, features):
        return features.reshape(*features.shape[:2], self.heads, -1)
