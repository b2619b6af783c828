"""BEATs (Chen et al., 2023): patches of 160 ms and 16 mel bins, post-norm blocks.

Follows PretrainedSED's `models/beats/BEATs.py` and `models/beats/backbone.py`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.attention import padding_bias
from jaxsed.models.blocks import drop, layer_norm
from jaxsed.models.compression import NONE, Compression
from jaxsed.models.deep_norm import LAYER_NORM_EPSILON, DeepNormBlock
from jaxsed.models.dense import Dense
from jaxsed.models.encoder import OnGrid
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.patches import PATCH_BINS
from jaxsed.models.position_convolution import PositionConvolution
from jaxsed.models.relative_bias import RelativeBias
from jaxsed.models.tokens import Grid

# Frames of 25 ms that are not padded: 998 in 10 s, of which the last 6 fill no patch.
GRID = Grid(mel_frames=998, frames_per_step=16, steps=62, rows=8)


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
        position_taps: Tokens that the convolution for positions sees, uncompressed.
        position_groups: Its groups.
        n_buckets: Distances between tokens that the relative bias tells apart.
        max_distance: Distance, in tokens, of the last of them.
        input_dropout: Rate on the projected patches.
        dropout: Rate on what enters the first block and on every branch.
        attention_dropout: Rate on attention weights.
        layer_drop: Rate at which a block is left out, drawn once for a whole batch.
        dropped: Blocks at the top that are not there; the others are as with them.
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
    dropped: int = 0

    @property
    def n_blocks(self) -> int:
        """Number of blocks that are there."""
        return self.depth - self.dropped


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


def position_taps(config: BeatsConfig, grid: Grid) -> int:
    """Tokens in the time that the convolution for positions sees, at least one step."""
    return max(config.position_taps // grid.factor, grid.rows)


class BeatsEmbed(nn.Module):
    """Patches, a projection, and positions from a convolution.

    Attributes:
        config: Size of the encoder.
        dtype: Type to compute in.
        grid: How the tokens lie.
    """

    config: BeatsConfig
    dtype: Any
    grid: Grid = GRID

    @nn.compact
    def __call__(
        self, mel: jax.Array, valid: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, steps, frames, 128]`, cut by the grid.
            valid: bool `[b, s]`, which tokens are the clip's; None for all.

        Returns:
            Tokens `[b, s, d]`, and by name: `patch [b, s, patch width]`, `projected`,
            `position` and `embedded`, all three `[b, s, d]`.
        """
        config, dtype, grid = self.config, self.dtype, self.grid

        def norm(name):
            return layer_norm(name, dtype, LAYER_NORM_EPSILON)

        rows = mel.astype(dtype).reshape(*mel.shape[:3], grid.rows, PATCH_BINS)
        patches = nn.DenseGeneral(
            config.patch_width,
            axis=(-3, -1),
            use_bias=False,
            kernel_init=fan_in_uniform(grid.frames_per_step * PATCH_BINS),
            dtype=dtype,
            name="patch",
        )(rows)
        patch = grid.arrange(patches)
        init = fan_in_uniform(config.patch_width)
        projected = Dense(
            config.width, kernel_init=init, bias_init=init, dtype=dtype, name="proj"
        )(norm("patch_norm")(patch))
        tokens = drop(self, projected, config.input_dropout)
        if valid is not None:  # the convolution sees zeros after the end of a clip
            tokens = jnp.where(valid[..., None], tokens, 0)
        taps = position_taps(config, grid)
        position = PositionConvolution(
            taps, config.position_groups, dtype, name="position"
        )(tokens)
        embedded = norm("norm")(tokens + position)
        out = {
            "patch": patch,
            "projected": projected,
            "position": position,
            "embedded": embedded,
        }
        return drop(self, embedded, config.dropout), out


class Beats(OnGrid, nn.Module):
    """Embedding and a stack of post-norm blocks with one relative bias for all.

    Parameters live under `embed`, `relative_bias`, `block_0`, `block_1`, ...

    Attributes:
        config: Size and options.
        dtype: Type to compute in; parameters are float32.
        grid: How its tokens lie in time and frequency.
    """

    config: BeatsConfig = FULL
    dtype: Any = "float32"
    grid: Grid = GRID

    frontend = "beats"

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return self.config.width

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Top-level parameter keys, bottom first.

        For layer-wise learning rate decay upstream counts all that is not a block's,
        the shared relative bias too, to the first block.
        """
        blocks = tuple(f"block_{index}" for index in range(self.config.n_blocks))
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
        config, grid = self.config, self.grid
        steps = grid.cut(mel, n_mel_frames)
        valid = padding = None
        if n_mel_frames is not None:
            valid = grid.valid_tokens(n_mel_frames, steps.shape[1])
            padding = padding_bias(valid)
        tokens, out = BeatsEmbed(config, self.dtype, grid, name="embed")(steps, valid)
        relative_bias = RelativeBias(
            config.heads, config.n_buckets, config.max_distance, name="relative_bias"
        )(tokens.shape[1])
        for index in range(config.n_blocks):
            name = f"block_{index}"
            mapped = DeepNormBlock(
                width=config.width,
                heads=config.heads,
                mlp_width=config.mlp_width,
                depth=config.depth,
                dtype=self.dtype,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                name=name,
            )(tokens, relative_bias, padding)
            tokens = out[name] = self._layer_drop(mapped, tokens)
        return tokens, out

    def _layer_drop(self, mapped, tokens):
        rate = self.config.layer_drop
        if rate == 0 or not self.has_rng("dropout"):
            return mapped
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate)
        return jnp.where(keep, mapped, tokens)


def beats(
    dtype: Any = "float32",
    config: BeatsConfig = FULL,
    compression: Compression = NONE,
) -> Beats:
    """BEATs base: 12 blocks of width 768, 90.3 M parameters."""
    return Beats(config, dtype, compression.of_grid(GRID))


def tiny_beats(dtype: Any = "float32", compression: Compression = NONE) -> Beats:
    """The same model small enough to train on a CPU in minutes."""
    return beats(dtype, TINY, compression)
