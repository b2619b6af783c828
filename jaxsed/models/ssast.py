"""SSAST, self-supervised AST (Gong et al., 2022): pre-trained by masked patches.

Follows `src/models/ast_models.py` of YuanGongND/ssast. The encoder is AST's but for its
summary of a clip, the mean of all patches (`ft_avgtok`), as pre-training teaches those
and not CLS and DIST. What it is pre-trained with is in `models/masked_patches.py`.
"""

import dataclasses
from typing import Any

from jaxsed.models.ast import FULL, GRID, OVERLAPPING_GRID, TINY
from jaxsed.models.compression import NONE, Compression
from jaxsed.models.spectrogram_transformer import SpectrogramTransformer, build
from jaxsed.models.vit import VitConfig

# Patches of 20 ms by all 128 mel bins: 512 of them, of which a clip of 10 s fills 499.
FRAME_GRID = dataclasses.replace(
    GRID,
    frames_per_step=2,
    steps=499,
    rows=1,
    patch_frames=2,
    patch_bins=128,
    bins_per_row=128,
    label_frames=250,
)

# `vit_deit_{small,tiny}_distilled_patch16_224` of timm.
DEIT_SMALL = VitConfig(width=384, heads=6, mlp_width=1536)
DEIT_TINY = VitConfig(width=192, heads=3, mlp_width=768)


def ssast(
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    config: VitConfig = FULL,
) -> SpectrogramTransformer:
    """SSAST base, 16 x 16 patches that do not overlap, as it is pre-trained."""
    return build(GRID, config, dtype, compression, frontend, "patches")


def ssast_s10(
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    config: VitConfig = FULL,
) -> SpectrogramTransformer:
    """SSAST base with overlapping patches, as it is fine-tuned on AudioSet."""
    return build(OVERLAPPING_GRID, config, dtype, compression, frontend, "patches")


def ssast_frame(
    dtype: Any = "float32",
    compression: Compression = NONE,
    frontend: str = "ast",
    config: VitConfig = FULL,
) -> SpectrogramTransformer:
    """SSAST base with patches of all frequencies by 20 ms."""
    return build(FRAME_GRID, config, dtype, compression, frontend, "patches")


def ssast_deit_small(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ssast` as small as DeiT-small, 23 M parameters: "small" in the release."""
    return ssast(dtype, compression, frontend, DEIT_SMALL)


def ssast_deit_tiny(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ssast` as small as DeiT-tiny, 6 M parameters: "tiny" in the release."""
    return ssast(dtype, compression, frontend, DEIT_TINY)


def ssast_deit_tiny_frame(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ssast_frame` as small as DeiT-tiny: "tiny" in the release."""
    return ssast_frame(dtype, compression, frontend, DEIT_TINY)


def tiny_ssast(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ssast` small enough to train on a CPU in minutes."""
    return ssast(dtype, compression, frontend, TINY)


def tiny_ssast_frame(
    dtype: Any = "float32", compression: Compression = NONE, frontend: str = "ast"
) -> SpectrogramTransformer:
    """`ssast_frame` small enough to train on a CPU in minutes."""
    return ssast_frame(dtype, compression, frontend, TINY)
