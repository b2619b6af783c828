"""M2D, Masked Modeling Duo (Niizumi et al., 2024): a ViT over 16 x 16 patches.

Follows PretrainedSED's `models/m2d/portable_m2d.py`, the runtime of
m2d_clap_vit_base-80x1001p16x16.
"""

from typing import Any

from jaxsed.models.compression import NONE, Compression
from jaxsed.models.patches import PatchEmbed
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import VisionTransformer, VitConfig

# 160 ms by 5 rows of 16 mel bins, one frequency after the other, CLS in front. A frame
# is the 5 tokens of a step side by side. As the original, a short clip is filled up
# with zeros; of a whole one the last 9 mel frames are not seen.
GRID = Grid(
    mel_frames=1001,
    frames_per_step=16,
    steps=62,
    rows=5,
    time_major=False,
    prefix=1,
    joins_rows=True,
    fills_with_zeros=True,
)
CLS_STD = (
    1e-6  # timm's `VisionTransformer.init_weights`, which the original starts from
)

FULL = VitConfig()
TINY = VitConfig(width=96, depth=3, heads=3, mlp_width=192)


def m2d(
    dtype: Any = "float32",
    config: VitConfig = FULL,
    compression: Compression = NONE,
) -> VisionTransformer:
    """M2D base: 12 blocks of width 768, 85.5 M parameters, frames of width 3840."""
    grid = compression.of_grid(GRID)
    return VisionTransformer(
        embed=PatchEmbed(grid, config, dtype, prefix_std=CLS_STD),
        grid=grid,
        config=config,
        frontend="m2d",
        dtype=dtype,
    )


def tiny_m2d(
    dtype: Any = "float32", compression: Compression = NONE
) -> VisionTransformer:
    """The same model small enough to train on a CPU in minutes."""
    return m2d(dtype, TINY, compression)
