"""AST, Audio Spectrogram Transformer (Gong et al., 2021): a ViT over 16 x 16 patches.

Follows `src/models/ast_models.py` of YuanGongND/ast. Encoders are made by
`ast(dtype="float32", compression=NONE, frontend="ast", config=FULL)` and the like.
"""

import dataclasses
from functools import partial

from jaxsed.models.padded_grid import PaddedGrid
from jaxsed.models.spectrogram_transformer import build
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

ast = partial(build, OVERLAPPING_GRID, config=FULL)
"""AST base as released: 12 blocks, 86.2 M parameters, patches that overlap."""

ast_s16 = partial(build, GRID, config=FULL)
"""AST base with patches that do not overlap, as in From Coarse to Fine."""

# Small enough to train on a CPU in minutes.
tiny_ast = partial(ast, config=TINY)
tiny_ast_s16 = partial(ast_s16, config=TINY)
