"""AST, Audio Spectrogram Transformer (Gong et al., 2021): a ViT over 16 x 16 patches.

Follows `src/models/ast_models.py` of YuanGongND/ast.
"""

import dataclasses
from typing import Any

from jaxsed.models.compression import NONE, Compression
from jaxsed.models.padded_grid import PaddedGrid
from jaxsed.models.spectrogram_transformer import SpectrogramTransformer, build
from jaxsed.models.vit import VitConfig

# 160 ms by 8 rows of 16 mel bins, one row after the other, CLS and DIST in front: 514
# tokens. Of 64 columns a clip of 10 s fills 63, the last of them not quite: 10.08 s.
GRID = PaddedGrid(
    mel_frames=998,
    frames_per_step=16,
    steps=63,
    rows=8,
    time_major=False,
    prefix=2,
    joins_rows=True,
    label_frames=252,
)
# The released models' patches begin every 100 ms and every 10 mel bins: 1214 tokens. Of
# 101 columns a clip of 10 s fills 100.
OVERLAPPING_GRID = dataclasses.replace(
    GRID, frames_per_step=10, steps=100, rows=12, bins_per_row=10, label_frames=250
)

FULL = VitConfig()
TINY = VitConfig(width=96, depth=3, heads=3, mlp_width=192)


def ast(
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    config: VitConfig = FULL,
) -> SpectrogramTransformer:
    """AST base with overlapping patches, as released: 12 blocks, 86.2 M parameters."""
    return build(OVERLAPPING_GRID, config, dtype, compression, frontend)


def ast_s16(
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    config: VitConfig = FULL,
) -> SpectrogramTransformer:
    """AST base with patches that do not overlap, as in From Coarse to Fine."""
    return build(GRID, config, dtype, compression, frontend)


def tiny_ast(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ast` small enough to train on a CPU."""
    return ast(dtype, compression, frontend, TINY)


def tiny_ast_s16(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ast_s16` small enough to train on a CPU in minutes."""
    return ast_s16(dtype, compression, frontend, TINY)
