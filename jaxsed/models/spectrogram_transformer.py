"""The transformer of AST and SSAST: its blocks see padding, and it sums clips up."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from jaxsed.frontends.presets import PRESETS
from jaxsed.models.compression import NONE, Compression
from jaxsed.models.heads import time_mean
from jaxsed.models.padded_grid import PaddedGrid
from jaxsed.models.patches import PatchEmbed
from jaxsed.models.vit import VisionTransformer, VitConfig


class SpectrogramTransformer(VisionTransformer):
    """A vision transformer over a `PaddedGrid`, with a summary of the clip.

    Parameters live under `embed`, `block_0`, `block_1`, ... and `norm`.

    Attributes:
        summary_of: What the head "tokens" works on: "prefix", the mean of CLS and DIST,
            or "patches", that of all others, padding included.
    """

    summary_of: str = "prefix"

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return self.config.width

    @property
    def gives(self) -> tuple[str, ...]:
        """Names in `out` that only some encoders have and that a head may need."""
        return "summary", "cls_summary"

    @nn.nowrap
    def attention_bias(self, n_mel_frames: jax.Array | None, n_steps: int) -> None:
        """Returns None: the blocks see padding, as the originals' do."""

    @nn.nowrap
    def summed_up(
        self, tokens: jax.Array, n_steps: int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns frames, `summary` and `cls_summary [b, d]`; float32 or better, these."""
        prefix = self.grid.prefix
        out = {"cls_summary": time_mean(tokens[:, :prefix])}
        out["summary"] = out["cls_summary"]
        if self.summary_of == "patches":
            out["summary"] = time_mean(tokens[:, prefix:])
        return self.grid.frames(tokens)[:, :n_steps], out


def build(
    grid: PaddedGrid,
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    *,
    config: VitConfig,
    summary_of: str = "prefix",
) -> SpectrogramTransformer:
    """Puts an encoder together.

    Args:
        grid: Of the patches at full resolution.
        dtype: Type to compute in.
        compression: In time.
        frontend: Name of the preset; it says what spectrograms are padded with.
        config: Size and options.
        summary_of: See `SpectrogramTransformer`.
    """
    grid = dataclasses.replace(grid, padding_value=PRESETS[frontend].padding)
    grid = compression.of_grid(grid)
    return SpectrogramTransformer(
        embed=PatchEmbed(grid, config, dtype),
        grid=grid,
        config=config,
        frontend=frontend,
        dtype=dtype,
        summary_of=summary_of,
    )
