"""The transformer of AST and SSAST: its blocks see padding, and it sums clips up."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from jaxsed.frontends.presets import PRESETS
from jaxsed.models.compression import Compression
from jaxsed.models.heads import time_mean
from jaxsed.models.padded_grid import PaddedGrid
from jaxsed.models.patches import PatchEmbed
from jaxsed.models.vit import Hidden, VisionTransformer, VitConfig, transformed


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

    @nn.compact
    def __call__(
        self,
        mel: jax.Array,
        n_mel_frames: jax.Array | None = None,
        hidden: Hidden | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Encodes mel spectrograms.

        Args:
            mel: `[b, t, f]` from the front-end, any length up to `clip_seconds`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's frames are those that it has alone.
            hidden: Patches that are not to be seen; None for none.

        Returns:
            Frames `[b, s, d]` and all intermediates by name: those of the embedding,
            `block_0`, `block_1`, ... and `norm [b, prefix + patches, d]`, and
            `summary` and `cls_summary [b, d]`, these in float32 or better.

        Raises:
            InputError: If the clip is longer than `clip_seconds`.
        """
        inputs = (mel, n_mel_frames) if hidden is None else (mel, n_mel_frames, hidden)
        tokens, out = self.embed(*inputs)
        out |= transformed(tokens, None, self.config, self.dtype)
        tokens, prefix = out["norm"], self.grid.prefix
        out["cls_summary"] = out["summary"] = time_mean(tokens[:, :prefix])
        if self.summary_of == "patches":
            out["summary"] = time_mean(tokens[:, prefix:])
        return self.grid.frames(tokens)[:, : self.grid.n_steps(mel.shape[1])], out


def build(
    grid: PaddedGrid,
    config: VitConfig,
    dtype: Any,
    compression: Compression,
    frontend: str,
    summary_of: str = "prefix",
) -> SpectrogramTransformer:
    """Puts an encoder together.

    Args:
        grid: Of the patches at full resolution.
        config: Size and options.
        dtype: Type to compute in.
        compression: In time.
        frontend: Name of the preset; it says what spectrograms are padded with.
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
