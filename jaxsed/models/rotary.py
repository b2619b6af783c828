"""Self-attention and transformer layers on label frames, with rotary positions.

As in EfficientSED, the sequel of PretrainedSED: `models/sequence_models/roformer/` and
`models/sequence_models/helper.py`.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models import dropout
from jaxsed.models.attention import attend
from jaxsed.models.blocks import Mlp, drop
from jaxsed.models.dense import Dense

ROTARY_BASE = 10_000.0  # theta of rotary_embedding_torch
MLP_EXPANSION = 4
# PyTorch's `normalize` divides by max(norm, 1e-12).
RMS_EPSILON = 1e-24

dense_init = nn.initializers.normal(0.02)  # `init_weights` of helper.py


def rms_norm(name: str, dtype: Any) -> nn.RMSNorm:
    """Division by the root mean square, taken in float32 whatever `dtype` is."""
    return nn.RMSNorm(epsilon=RMS_EPSILON, dtype=dtype, name=name)


def rotate(features: jax.Array) -> jax.Array:
    """Turns each pair of features (0 and 1, 2 and 3, ...) by an angle that is its frame.

    Rotary position embedding (Su et al. 2021, RoFormer, section 3.2.2): products of
    two such vectors depend on the distance of their frames alone.

    Args:
        features: Queries or keys, `[b, s, heads, e]` with an even e.

    Returns:
        Like `features`; computed in float32 or better.
    """
    *_, n_frames, _, head_width = features.shape
    exact = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    cosine, sine = (
        jnp.asarray(table, exact.dtype)[:, None]
        for table in _rotary_tables(n_frames, head_width)
    )
    first, second = exact[..., 0::2], exact[..., 1::2]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    turned = jnp.stack(turned, axis=-1).reshape(features.shape)
    return turned.astype(features.dtype)


@functools.cache
def _rotary_tables(n_frames: int, head_width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of all angles, float64 `[n_frames, head_width / 2]`."""
    frequencies = ROTARY_BASE ** -(np.arange(0, head_width, 2) / head_width)
    angles = np.arange(n_frames)[:, None] * frequencies
    return np.cos(angles), np.sin(angles)


class GatedAttention(nn.Module):
    """Self-attention with rotary positions and a sigmoid gate on every head.

    Attributes:
        width: Number of features in and out.
        heads: Number of heads; `width / heads` is a whole, even number.
        dropout: Rate on the attention weights and after the projection.
        dtype: Type to compute in.
    """

    width: int
    heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        """Maps normalised frames `[b, t, d]` to `[b, t, d]`; `bias` as in `attend`."""
        options = {"kernel_init": dense_init, "dtype": self.dtype}
        qkv = Dense(3 * self.width, use_bias=False, name="qkv", **options)(frames)
        per_head = (*frames.shape[:2], 3, self.heads, self.width // self.heads)
        query, key, value = jnp.moveaxis(qkv.reshape(per_head), 2, 0)
        seeds = None
        if self.dropout > 0 and self.has_rng("dropout"):
            shape = (frames.shape[0], self.heads)
            seeds = dropout.seeds(self.make_rng("dropout"), shape)
        attended = attend(rotate(query), rotate(key), value, bias, self.dropout, seeds)
        gates = Dense(self.heads, name="gates", **options)(frames)
        attended = attended * nn.sigmoid(gates)[..., None]
        proj = Dense(self.width, use_bias=False, name="proj", **options)
        return drop(self, proj(attended.reshape(frames.shape)), self.dropout)


class RotaryBlock(nn.Module):
    """`x + attention(norm(x))`, in a transformer then `x + mlp(norm(x))`.

    Attributes:
        width: Number of features.
        heads: Number of attention heads.
        has_mlp: Whether an MLP follows the attention.
        dropout: Rate in attention and MLP.
        dtype: Type to compute in.
    """

    width: int
    heads: int
    has_mlp: bool
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array, bias: jax.Array | None = None) -> jax.Array:
        """Maps frames `[b, t, d]` to `[b, t, d]`; `bias` as in `attend`."""
        attention = GatedAttention(
            self.width, self.heads, self.dropout, self.dtype, name="attn"
        )
        frames = frames + attention(rms_norm("norm1", self.dtype)(frames), bias)
        if not self.has_mlp:
            return frames
        mlp = Mlp(
            self.width,
            MLP_EXPANSION * self.width,
            dense_init,
            self.dtype,
            self.dropout,
            name="mlp",
        )
        return frames + mlp(rms_norm("norm2", self.dtype)(frames))
