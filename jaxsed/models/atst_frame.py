"""ATST-Frame (Li et al., 2024): one token for every 40 ms of a mel spectrogram.

Follows PretrainedSED's `models/atstframe/audio_transformer.py`.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.compression import NONE, Compression
from jaxsed.models.dense import Dense
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import VisionTransformer, VitConfig

# A token is 40 ms of all 64 mel bins. Frame t is centred on t hops: the clip ends with
# frame 1001, which is left out.
GRID = Grid(mel_frames=1001, frames_per_step=4, steps=250, last_frame_is_edge=True)

FULL = VitConfig(qkv_bias=False)
TINY = VitConfig(width=96, depth=3, heads=3, mlp_width=384, qkv_bias=False)


class AtstEmbed(nn.Module):
    """Patches of all mel bins and four frames, a dense layer, learned positions.

    Attributes:
        config: Size of the encoder.
        dtype: Type to compute in.
        grid: How the tokens lie.
    """

    config: VitConfig
    dtype: Any
    grid: Grid = GRID

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, t, 64]`.
            n_mel_frames: int `[b]`, or None for all.

        Returns:
            Tokens `[b, s, d]` and `{"patch": [b, s, d]}`, before positions.

        Raises:
            InputError: If the clip is longer than 10 s.
        """
        width, init = self.config.width, self.config.kernel_init
        steps = self.grid.cut(mel, n_mel_frames).astype(self.dtype)
        n_tokens = steps.shape[1]
        # A patch is read mel bin by mel bin, all its frames, as the kernel is stored.
        patches = steps.swapaxes(2, 3).reshape(mel.shape[0], n_tokens, -1)
        patch = Dense(width, kernel_init=init, dtype=self.dtype, name="patch")(patches)
        positions = self.param("positions", init, (self.grid.steps, width))
        tokens = patch + jnp.asarray(positions[:n_tokens], self.dtype)
        return tokens, {"patch": patch}


def atst_frame(
    dtype: Any = "float32",
    config: VitConfig = FULL,
    compression: Compression = NONE,
) -> VisionTransformer:
    """ATST-Frame base: 12 blocks of width 768, 85.4 M parameters."""
    grid = compression.of_grid(GRID)
    return VisionTransformer(
        embed=AtstEmbed(config, dtype, grid),
        grid=grid,
        config=config,
        frontend="atst_frame",
        dtype=dtype,
    )


def tiny_atst_frame(
    dtype: Any = "float32", compression: Compression = NONE
) -> VisionTransformer:
    """The same model small enough to train on a CPU in minutes."""
    return atst_frame(dtype, TINY, compression)
