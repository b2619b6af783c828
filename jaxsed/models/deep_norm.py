"""Post-norm transformer blocks that are stable when deep: DeepNorm (Wang et al., 2022).

What comes in is scaled up before a branch is added, and branches start small. Follows
PretrainedSED's `models/beats/backbone.py`, which BEATs is stacked from.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.attention import SelfAttention
from jaxsed.models.blocks import Mlp, drop, layer_norm
from jaxsed.models.dense import materialized
from jaxsed.models.relative_bias import GatedBias, QueryGate

LAYER_NORM_EPSILON = 1e-5  # PyTorch's default, which BEATs leaves


def residual_scale(depth: int) -> float:
    """Alpha of an encoder with so many blocks (figure 2 of the paper)."""
    return (2 * depth) ** 0.25


def branch_gain(depth: int) -> float:
    """Beta of an encoder with so many blocks: gain that its branches start with."""
    return (8 * depth) ** -0.25


def xavier_normal(gain: float) -> nn.initializers.Initializer:
    """Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`, as in PyTorch."""
    return nn.initializers.variance_scaling(gain**2, "fan_avg", "normal")


def query_key_value_init(value_gain: float) -> nn.initializers.Initializer:
    """Initialiser of a fused kernel; the values are part of the branch, the rest not.

    Args:
        value_gain: Gain of the values; that of queries and keys is 1.
    """

    def init(key, shape, dtype=jnp.float32):
        keys = jax.random.split(key, 3)
        part = (shape[0], shape[1] // 3)
        parts = [
            xavier_normal(gain)(key, part, dtype)
            for key, gain in zip(keys, (1.0, 1.0, value_gain))
        ]
        return jnp.concatenate(parts, axis=-1)

    return init


class DeepNormBlock(nn.Module):
    """`norm(alpha x + attention(x))`, then `norm(alpha x + mlp(x))`.

    Attributes:
        width: Number of features.
        heads: Number of attention heads.
        mlp_width: Hidden features of the MLP.
        depth: Number of blocks of the encoder, which alpha and beta follow from.
        dtype: Type to compute in.
        dropout: Rate on what either branch gives.
        attention_dropout: Rate on attention weights.
    """

    width: int
    heads: int
    mlp_width: int
    depth: int
    dtype: Any
    dropout: float = 0.0
    attention_dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        relative_bias: jax.Array,
        padding: jax.Array | None = None,
    ) -> jax.Array:
        """Maps tokens `[b, s, d]` to `[b, s, d]`.

        Args:
            tokens: `[b, s, d]`.
            relative_bias: `[heads, s, s]`, before the queries gate it.
            padding: `[b, 1, 1, s]` from `padding_bias`, or None.

        Returns:
            `[b, s, d]`.
        """
        alpha, gain = residual_scale(self.depth), branch_gain(self.depth)
        gate = QueryGate(self.heads, name="gate")(self.width // self.heads)
        gated = GatedBias(gate, relative_bias)

        def add_and_norm(name, tokens, branch):
            branch = drop(self, branch, self.dropout)
            norm = layer_norm(name, self.dtype, LAYER_NORM_EPSILON)
            return materialized(norm(alpha * tokens + branch))

        attention = SelfAttention(
            self.width,
            self.heads,
            qkv_bias=True,
            kernel_init=query_key_value_init(gain),
            dtype=self.dtype,
            proj_init=xavier_normal(gain),
            dropout=self.attention_dropout,
            name="attn",
        )
        tokens = add_and_norm("norm1", tokens, attention(tokens, padding, gated))
        init = xavier_normal(gain)
        mlp = Mlp(self.width, self.mlp_width, init, self.dtype, name="mlp")
        return add_and_norm("norm2", tokens, mlp(tokens))
