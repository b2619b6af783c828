"""The pre-norm transformer block that all ViT-like encoders are stacked from."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models import dropout
from jaxsed.models.attention import SelfAttention
from jaxsed.models.dense import Dense, materialized
from jaxsed.models.gelu import gelu
from jaxsed.models.layer_norm import LayerNorm

LAYER_NORM_EPSILON = 1e-6  # of every encoder released with PretrainedSED but BEATs


def layer_norm(name: str, dtype: Any, epsilon: float = LAYER_NORM_EPSILON) -> LayerNorm:
    """Layer normalisation with statistics in float32 whatever `dtype` is."""
    return LayerNorm(epsilon=epsilon, dtype=dtype, name=name)


class Mlp(nn.Module):
    """Two dense layers around an exact (erf) GELU.

    Attributes:
        width: Number of features in and out.
        hidden: Number of features between the layers.
        kernel_init: Initialiser of both layers.
        dtype: Type to compute in.
        dropout: Rate after either layer.
    """

    width: int
    hidden: int
    kernel_init: nn.initializers.Initializer
    dtype: Any
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps tokens `[b, s, d]` to `[b, s, d]`."""
        options = {"kernel_init": self.kernel_init, "dtype": self.dtype}
        hidden = Dense(self.hidden, name="fc1", **options)(tokens)
        hidden = drop(self, gelu(hidden), self.dropout)
        return drop(
            self, Dense(self.width, name="fc2", **options)(hidden), self.dropout
        )


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`.

    Attributes:
        width: Number of features.
        heads: Number of attention heads.
        mlp_width: Hidden features of the MLP.
        qkv_bias: Whether query, key and value have a bias.
        kernel_init: Initialiser of all dense layers.
        dtype: Type to compute in.
        dropout: Rate inside the block.
        drop_path: Rate at which a whole branch is dropped, per clip.
    """

    width: int
    heads: int
    mlp_width: int
    qkv_bias: bool
    kernel_init: nn.initializers.Initializer
    dtype: Any
    dropout: float = 0.0
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, tokens: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        """Maps tokens `[b, s, d]` to `[b, s, d]`; `bias` as in `attend`."""
        attention = SelfAttention(
            self.width,
            self.heads,
            self.qkv_bias,
            self.kernel_init,
            self.dtype,
            name="attn",
        )
        mlp = Mlp(
            self.width,
            self.mlp_width,
            self.kernel_init,
            self.dtype,
            self.dropout,
            name="mlp",
        )
        tokens = materialized(tokens)
        branch = attention(layer_norm("norm1", self.dtype)(tokens), bias)
        branch = drop(self, branch, self.dropout)
        tokens = tokens + drop(self, branch, self.drop_path, whole_clip=True)
        tokens = materialized(tokens)
        branch = mlp(layer_norm("norm2", self.dtype)(tokens))
        return tokens + drop(self, branch, self.drop_path, whole_clip=True)


def drop(
    module: nn.Module, values: jax.Array, rate: float, whole_clip: bool = False
) -> jax.Array:
    """Zeroes values (or whole clips) at random and scales up the rest.

    Active only where the caller passes a `dropout` key (`apply(..., rngs={"dropout":
    key})`), so that evaluation needs no flag.

    Args:
        module: The Linen module that asks, for its random stream.
        values: `[b, ...]`.
        rate: Probability of being dropped.
        whole_clip: Draw once per clip (stochastic depth) instead of per value.

    Returns:
        Like `values`.
    """
    if rate == 0 or not module.has_rng("dropout"):
        return values
    shape = (
        (values.shape[0],) + (1,) * (values.ndim - 1) if whole_clip else values.shape
    )
    seeds = dropout.seeds(module.make_rng("dropout"))
    keep = dropout.keep(dropout.positions(shape), (seeds[0], seeds[1]), rate)
    return jnp.where(keep, values / (1 - rate), 0).astype(values.dtype)
