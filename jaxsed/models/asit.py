"""ASiT (Atito et al., 2024): a ViT over 16 x 16 patches, CLS kept among the frames.

Follows PretrainedSED's `models/asit/vision_transformer.py`.
"""

from typing import Any

from jaxsed.models.compression import NONE, Compression
from jaxsed.models.patches import PatchEmbed
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import VisionTransformer, VitConfig

# 160 ms by 8 rows of 16 mel bins, one step after the other. CLS is the first frame.
GRID = Grid(
    mel_frames=998,
    frames_per_step=16,
    steps=62,
    rows=8,
    prefix=1,
    keeps_prefix=True,
)
# Pre-training saw 128 mel bins by 592 frames, that is frequency by time. The original
# hands them on as time by frequency: 8 rows are stretched over 62 steps, 37 columns
# squeezed into 8 rows (`audio_size=[128, 592]` in `ASIT_wrapper.py`). Weights released
# with it are fine-tuned that way.
STORED_GRID = (8, 37)

FULL = VitConfig()
TINY = VitConfig(width=96, depth=3, heads=3, mlp_width=192)


def asit(
    dtype: Any = "float32",
    config: VitConfig = FULL,
    compression: Compression = NONE,
) -> VisionTransformer:
    """ASiT base: 12 blocks of width 768, 85.5 M parameters.

    Clips shorter than 10 s take the first positions in time of 10 s, where the original
    would stretch its table anew.
    """
    grid = compression.of_grid(GRID)
    return VisionTransformer(
        embed=PatchEmbed(grid, config, dtype, stored_grid=STORED_GRID),
        grid=grid,
        config=config,
        frontend="asit",
        dtype=dtype,
    )


def tiny_asit(
    dtype: Any = "float32", compression: Compression = NONE
) -> VisionTransformer:
    """The same model small enough to train on a CPU in minutes."""
    return asit(dtype, TINY, compression)
