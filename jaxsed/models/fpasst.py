"""Frame-level PaSST: convolutions to 40 ms, then one token per frame.

Follows PretrainedSED's `models/frame_passt/fpasst.py`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.dense import Dense
from jaxsed.models.gelu import gelu
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.tokens import Grid, silenced, strided
from jaxsed.models.vit import VisionTransformer, VitConfig

# A token is 40 ms, all frequencies; CLS and DIST in front.
GRID = Grid(mel_frames=1000, frames_per_step=4, steps=250, prefix=2)
STRIDES = (2, 1, 2)  # of the stem, in time and frequency alike: 10 ms to 40 ms

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
    """

    config: VitConfig
    stem: tuple[int, int, int]
    dtype: Any

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, t, 128]`.
            n_mel_frames: int `[b]`, or None for all.

        Returns:
            Tokens `[b, 2 + s, d]` and `{"stem": [b, s, 32, channels],
            "patch": [b, s, d]}`; patches are taken before positions.

        Raises:
            InputError: If the clip is longer than 10 s.
        """
        n_clips = mel.shape[0]
        GRID.check(mel.shape[1])
        n_tokens = GRID.n_steps(mel.shape[1])
        frames = silenced(mel[..., None].astype(self.dtype), n_mel_frames)
        length = n_mel_frames
        for index, (channels, stride) in enumerate(zip(self.stem, STRIDES)):
            frames = self._convolution(frames, channels, stride, f"stem_{index}")
            length = strided(length, stride)
            frames = silenced(frames, length)
        stem = frames
        patch = self._patch(stem.reshape(n_clips, n_tokens, -1))

        init, width = self.config.kernel_init, self.config.width

        def positions(name, *rows):
            return jnp.asarray(self.param(name, init, (*rows, width)), self.dtype)

        tokens = patch + positions("time_positions", GRID.steps)[:n_tokens]
        tokens = tokens + positions("frequency_position")
        extra = jnp.stack([positions("cls_token"), positions("dist_token")])
        extra = extra + positions("token_positions", 2)
        extra = jnp.broadcast_to(extra, (n_clips, 2, width))
        tokens = jnp.concatenate([extra, tokens], axis=1)
        return tokens, {"stem": stem, "patch": patch}

    def _convolution(self, frames, channels, stride, name):
        init = fan_in_uniform(9 * frames.shape[-1])
        convolution = nn.Conv(
            channels,
            kernel_size=(3, 3),
            strides=(stride, stride),
            padding=1,
            kernel_init=init,
            bias_init=init,
            dtype=self.dtype,
            name=name,
        )
        return gelu(convolution(frames))

    def _patch(self, frames):
        # A kernel over all rows and two frames: frame t sees t and t + 1, and the last
        # one sees zeros. The original shapes the stem's 64 x 32 outputs into 16 x 128
        # before; as the kernel spans all of them, that changes nothing but names.
        following = jnp.pad(frames[:, 1:], ((0, 0), (0, 1), (0, 0)))
        pairs = jnp.concatenate([frames, following], axis=-1)
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
) -> VisionTransformer:
    """Frame-level PaSST base: 12 blocks of width 768, 88.4 M parameters."""
    return VisionTransformer(
        embed=FpasstEmbed(config, stem, dtype),
        grid=GRID,
        config=config,
        frontend="fpasst",
        dtype=dtype,
    )


def tiny_fpasst(dtype: Any = "float32") -> VisionTransformer:
    """The same model small enough to train on a CPU in minutes."""
    return fpasst(dtype, TINY, TINY_STEM)
