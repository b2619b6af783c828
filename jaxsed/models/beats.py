"""BEATs (Chen et al., 2023): patches of 160 ms and 16 mel bins, post-norm blocks.

Follows PretrainedSED's `models/beats/BEATs.py` and `models/beats/backbone.py`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.attention import SelfAttention, padding_bias
from jaxsed.models.blocks import Mlp, drop, layer_norm
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.position_convolution import PositionConvolution
from jaxsed.models.relative_bias import QueryGate, RelativeBias
from jaxsed.models.tokens import Grid

# Frames of 25 ms that are not padded: 998 in 10 s, of which the last 6 fill no patch.
GRID = Grid(mel_frames=998, frames_per_step=16, steps=62, rows=8)
PATCH_BINS = 16
LAYER_NORM_EPSILON = 1e-5  # PyTorch's default


@dataclasses.dataclass(frozen=True)
class BeatsConfig:
    """Size and options; the defaults are upstream's `BEATsConfig`.

    Dropout is active where the caller passes a `dropout` key only.

    Attributes:
        width: Features of a token.
        depth: Number of blocks.
        heads: Attention heads of a block.
        mlp_width: Hidden features of a block's MLP.
        patch_width: Features of a patch before it is projected to `width`.
        position_taps: Tokens that the convolution for positions sees.
        position_groups: Its groups.
        n_buckets: Distances between tokens that the relative bias tells apart.
        max_distance: Distance, in tokens, of the last of them.
        input_dropout: Rate on the projected patches.
        dropout: Rate on what enters the first block and on every branch.
        attention_dropout: Rate on attention weights.
        layer_drop: Rate at which a block is left out, drawn once for a whole batch.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    patch_width: int = 512
    position_taps: int = 128
    position_groups: int = 16
    n_buckets: int = 320
    max_distance: int = 800
    input_dropout: float = 0.1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_drop: float = 0.05

    @property
    def residual_scale(self) -> float:
        """Alpha of DeepNorm (Wang et al., 2022) for an encoder."""
        return (2 * self.depth) ** 0.25

    @property
    def branch_gain(self) -> float:
        """Beta of DeepNorm: how much smaller the weights of a branch start."""
        return (8 * self.depth) ** -0.25


FULL = BeatsConfig()
TINY = BeatsConfig(
    width=96,
    depth=3,
    heads=3,
    mlp_width=192,
    patch_width=64,
    position_taps=32,
    position_groups=8,
)


class BeatsEmbed(nn.Module):
    """Patches, a projection, and positions from a convolution.

    Attributes:
        config: Size of the encoder.
        dtype: Type to compute in.
    """

    config: BeatsConfig
    dtype: Any

    @nn.compact
    def __call__(
        self, mel: jax.Array, valid: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, steps, 16, 128]`, cut by the grid.
            valid: bool `[b, s]`, which tokens are the clip's; None for all.

        Returns:
            Tokens `[b, s, d]`, and by name: `patch [b, s, patch width]`, `projected`,
            `position` and `embedded`, all three `[b, s, d]`.
        """
        config, dtype = self.config, self.dtype
        rows = mel.astype(dtype).reshape(*mel.shape[:3], GRID.rows, PATCH_BINS)
        patches = nn.DenseGeneral(
            config.patch_width,
            axis=(-3, -1),
            use_bias=False,
            kernel_init=fan_in_uniform(GRID.frames_per_step * PATCH_BINS),
            dtype=dtype,
            name="patch",
        )(rows)
        patch = GRID.arrange(patches)
        init = fan_in_uniform(config.patch_width)
        projected = nn.Dense(
            config.width, kernel_init=init, bias_init=init, dtype=dtype, name="proj"
        )(_norm("patch_norm", dtype)(patch))
        tokens = drop(self, projected, config.input_dropout)
        if valid is not None:  # the convolution sees zeros after the end of a clip
            tokens = jnp.where(valid[..., None], tokens, 0)
        position = PositionConvolution(
            config.position_taps, config.position_groups, dtype, name="position"
        )(tokens)
        embedded = _norm("norm", dtype)(tokens + position)
        out = {
            "patch": patch,
            "projected": projected,
            "position": position,
            "embedded": embedded,
        }
        return drop(self, embedded, config.dropout), out


class BeatsBlock(nn.Module):
    """`norm(alpha x + attention(x))`, then `norm(alpha x + mlp(x))`.

    Attributes:
        config: Size of the encoder.
        dtype: Type to compute in.
    """

    config: BeatsConfig
    dtype: Any

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
            relative_bias: `[heads, s, s]`, before it is gated.
            padding: `[b, 1, 1, s]` from `padding_bias`, or None.

        Returns:
            `[b, s, d]`.
        """
        config, dtype = self.config, self.dtype
        branch_init = xavier_normal(config.branch_gain)
        gate = QueryGate(config.heads, name="gate")

        def bias(query):
            gated = gate(query, relative_bias)
            return gated if padding is None else gated + padding

        attended = SelfAttention(
            config.width,
            config.heads,
            qkv_bias=True,
            kernel_init=query_key_value_init(config.branch_gain),
            dtype=dtype,
            proj_init=branch_init,
            dropout=config.attention_dropout,
            name="attn",
        )(tokens, bias)
        attended = drop(self, attended, config.dropout)
        tokens = _norm("norm1", dtype)(config.residual_scale * tokens + attended)
        mapped = Mlp(config.width, config.mlp_width, branch_init, dtype, name="mlp")(
            tokens
        )
        mapped = drop(self, mapped, config.dropout)
        return _norm("norm2", dtype)(config.residual_scale * tokens + mapped)


class Beats(nn.Module):
    """Embedding and a stack of post-norm blocks with one relative bias for all.

    Parameters live under `embed`, `relative_bias`, `block_0`, `block_1`, ...

    Attributes:
        config: Size and options.
        dtype: Type to compute in; parameters are float32.
    """

    config: BeatsConfig = FULL
    dtype: Any = "float32"

    frontend = "beats"
    grid = GRID

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return self.config.width

    @property
    def clip_seconds(self) -> float:
        """Longest clip that the encoder was made for."""
        return self.grid.clip_seconds

    @property
    def frame_rate_hz(self) -> float:
        """Output frames per second: eight for each step of 160 ms."""
        return self.grid.frame_rate_hz

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Top-level parameter keys, bottom first.

        For layer-wise learning rate decay upstream counts all that is not a block's,
        the shared relative bias too, to the first block.
        """
        blocks = tuple(f"block_{index}" for index in range(self.config.depth))
        return ("embed", "relative_bias", *blocks)

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Encodes mel spectrograms.

        Args:
            mel: `[b, t, 128]` from the front-end, any length up to `clip_seconds`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's frames are those that it has alone.

        Returns:
            Frames `[b, s, d]`, eight (from low to high mel bins) for each time step,
            and all intermediates by name: `patch`, `projected`, `position`,
            `embedded`, `block_0`, `block_1`, ... `[b, s, d]`.

        Raises:
            InputError: If the clip is longer than `clip_seconds`.
        """
        config = self.config
        steps = GRID.cut(mel, n_mel_frames)
        valid = padding = None
        if n_mel_frames is not None:
            valid = GRID.valid_tokens(n_mel_frames, steps.shape[1])
            padding = padding_bias(valid)
        tokens, out = BeatsEmbed(config, self.dtype, name="embed")(steps, valid)
        relative_bias = RelativeBias(
            config.heads, config.n_buckets, config.max_distance, name="relative_bias"
        )(tokens.shape[1])
        for index in range(config.depth):
            name = f"block_{index}"
            block = BeatsBlock(config, self.dtype, name=name)
            mapped = block(tokens, relative_bias, padding)
            tokens = out[name] = self._layer_drop(mapped, tokens)
        return tokens, out

    def _layer_drop(self, mapped, tokens):
        rate = self.config.layer_drop
        if rate == 0 or not self.has_rng("dropout"):
            return mapped
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate)
        return jnp.where(keep, mapped, tokens)


def _norm(name, dtype):
    return layer_norm(name, dtype, LAYER_NORM_EPSILON)


def xavier_normal(gain: float) -> nn.initializers.Initializer:
    """Normal with deviation `gain * sqrt(2 / (fan_in + fan_out))`, as in PyTorch."""
    return nn.initializers.variance_scaling(gain**2, "fan_avg", "normal")


def query_key_value_init(value_gain: float) -> nn.initializers.Initializer:
    """Initialiser of a fused kernel: that of the values starts smaller (DeepNorm)."""

    def init(key, shape, dtype=jnp.float32):
        keys = jax.random.split(key, 3)
        part = (shape[0], shape[1] // 3)
        parts = [
            xavier_normal(gain)(key, part, dtype)
            for key, gain in zip(keys, (1.0, 1.0, value_gain))
        ]
        return jnp.concatenate(parts, axis=-1)

    return init


def beats(dtype: Any = "float32") -> Beats:
    """BEATs base: 12 blocks of width 768, 90.3 M parameters."""
    return Beats(FULL, dtype)


def tiny_beats(dtype: Any = "float32") -> Beats:
    """The same model small enough to train on a CPU in minutes."""
    return Beats(TINY, dtype)
