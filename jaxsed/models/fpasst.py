"""Frame-level PaSST: convolutions to 40 ms, then one token per frame.

Follows PretrainedSED's `models/frame_passt/fpasst.py`.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.compression import NONE, Compression
from jaxsed.models.dense import Dense
from jaxsed.models.folded_convolution import FoldedConvolution
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.tokens import Grid, silenced, strided
from jaxsed.models.vit import VisionTransformer, VitConfig


class PairGrid(Grid):
    """The grid of fPaSST, where a token sees its own step and the one behind it."""

    @property
    def reach(self) -> float:
        """Time steps that a token sees, from the beginning of its own on."""
        return 2.0


# A token is 40 ms, all frequencies; CLS and DIST in front.
GRID = PairGrid(mel_frames=1000, frames_per_step=4, steps=250, prefix=2)
STRIDES = (2, 1, 2)  # of the stem, in time and frequency alike: 10 ms to 40 ms
STEM_STRIDE = math.prod(STRIDES)
PLACES = (1, 8, 8)  # that TPUs fold frequencies to: there are too few channels

FULL = VitConfig()
FULL_STEM = (16, 32, 64)
TINY = VitConfig(width=96, depth=3, heads=3, mlp_width=192)
TINY_STEM = (4, 8, 16)


class FpasstEmbed(nn.Module):
    """Convolutional stem, patches of two frames, positions, CLS and DIST tokens.

    Attributes:
        config: Size of the encoder.
        stem: Channels of the three convolutions.
        dtype: Type to compute in.
        grid: How the tokens lie.
    """

    config: VitConfig
    stem: tuple[int, int, int]
    dtype: Any
    grid: Grid = GRID

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, t, 128]`.
            n_mel_frames: int `[b]`, or None for all.

        Returns:
            Tokens `[b, 2 + s, d]` and `{"stem": [b, t / 4, 32, channels],
            "patch": [b, s, d]}`; patches are taken before positions.

        Raises:
            InputError: If the clip is longer than 10 s.
        """
        n_clips = mel.shape[0]
        self.grid.check(mel.shape[1])
        n_tokens = self.grid.n_steps(mel.shape[1])
        frames = silenced(mel[..., None].astype(self.dtype), n_mel_frames)
        length = n_mel_frames
        for index, (channels, stride) in enumerate(zip(self.stem, STRIDES)):
            init = fan_in_uniform(9 * frames.shape[-1])
            frames = FoldedConvolution(
                channels, stride, PLACES[index], init, self.dtype, name=f"stem_{index}"
            )(frames)
            length = strided(length, stride)
            frames = silenced(frames, length)
        stem = frames
        patch = self._patch(stem.reshape(*stem.shape[:2], -1), n_tokens)

        init, width = self.config.kernel_init, self.config.width

        def positions(name, *rows):
            return jnp.asarray(self.param(name, init, (*rows, width)), self.dtype)

        tokens = patch + positions("time_positions", self.grid.steps)[:n_tokens]
        tokens = tokens + positions("frequency_position")
        extra = jnp.stack([positions("cls_token"), positions("dist_token")])
        extra = extra + positions("token_positions", 2)
        extra = jnp.broadcast_to(extra, (n_clips, 2, width))
        tokens = jnp.concatenate([extra, tokens], axis=1)
        return tokens, {"stem": stem, "patch": patch}

    def _patch(self, frames, n_tokens):
        # A kernel over all rows and two steps of one frame each: token t sees frames t
        # and t + 1, and the last one sees zeros. Wider patches have steps of several.
        # The original shapes the stem's 64 x 32 outputs into 16 x 128 before; as the
        # kernel spans all of them, that changes nothing but names.
        step = self.grid.frames_per_step // STEM_STRIDE
        lacking = (n_tokens + 1) * step - frames.shape[1]
        frames = jnp.pad(frames, ((0, 0), (0, lacking), (0, 0)))
        steps = frames.reshape(len(frames), n_tokens + 1, -1)
        pairs = jnp.concatenate([steps[:, :-1], steps[:, 1:]], axis=-1)
        init = fan_in_uniform(pairs.shape[-1])
        return Dense(
            self.config.width,
            kernel_init=init,
            bias_init=init,
            dtype=self.dtype,
            name="patch",
        )(pairs)


def fpasst(
    dtype: Any = "float32",
    config: VitConfig = FULL,
    stem: tuple[int, int, int] = FULL_STEM,
    compression: Compression = NONE,
) -> VisionTransformer:
    """Frame-level PaSST base: 12 blocks of width 768, 88.4 M parameters.

    Its stem is not a patch: wider patches are those behind it, of two steps each.
    """
    grid = compression.of_grid(GRID)
    return VisionTransformer(
        embed=FpasstEmbed(config, stem, dtype, grid),
        grid=grid,
        config=config,
        frontend="fpasst",
        dtype=dtype,
    )


def tiny_fpasst(
    dtype: Any = "float32", compression: Compression = NONE
) -> VisionTransformer:
    """The same model small enough to train on a CPU in minutes."""
    return fpasst(dtype, TINY, TINY_STEM, compression)
