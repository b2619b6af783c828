"""SSAST, self-supervised AST (Gong et al., 2022): pre-trained by masked patches.

Follows `src/models/ast_models.py` of YuanGongND/ssast. The encoder is AST's but for its
summary of a clip, the mean of all patches (`ft_avgtok`), as pre-training teaches those
and not CLS and DIST. What it is pre-trained with is in `models/masked_patches.py`.
Encoders are made as AST's are.
"""

import dataclasses
from functools import partial

from jaxsed.models.ast import FULL, GRID, OVERLAPPING_GRID, TINY
from jaxsed.models.spectrogram_transformer import build
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

# `vit_deit_{small,tiny}_distilled_patch16_224` of timm: 23 M and 6 M parameters.
DEIT_SMALL = VitConfig(width=384, heads=6, mlp_width=1536)
DEIT_TINY = VitConfig(width=192, heads=3, mlp_width=768)

_ssast = partial(build, config=FULL, summary_of="patches")
ssast = partial(_ssast, GRID)
"""SSAST base, 16 x 16 patches that do not overlap, as it is pre-trained."""

ssast_s10 = partial(_ssast, OVERLAPPING_GRID)
"""SSAST base with overlapping patches, as it is fine-tuned on AudioSet."""

ssast_frame = partial(_ssast, FRAME_GRID)
"""SSAST base with patches of all frequencies by 20 ms."""

# "small" and "tiny" in the release.
ssast_deit_small = partial(ssast, config=DEIT_SMALL)
ssast_deit_tiny = partial(ssast, config=DEIT_TINY)
ssast_deit_tiny_frame = partial(ssast_frame, config=DEIT_TINY)
# Small enough to train on a CPU in minutes.
tiny_ssast = partial(ssast, config=TINY)
tiny_ssast_frame = partial(ssast_frame, config=TINY)
