"""Key layout of ATST-Frame's checkpoints."""

import numpy as np

from jaxsed.weights.layouts.rules import (
    Dropped,
    Family,
    Rule,
    Transform,
    affine,
    block,
    norm,
)

# [1, 251, d] to [250, d]; the first row stood for a CLS token that ATST-Frame lacks.
POSITIONS_AFTER_CLS = Transform(
    "positions after CLS",
    lambda x: x[0, 1:],
    lambda x: np.pad(x, ((1, 0), (0, 0)))[None],
    rest=np.s_[:, :1],
)

FAMILY = Family(
    embedding=(
        *affine("model.atst.patch_embed.patch_embed", "encoder/embed/patch"),
        Rule("model.atst.pos_embed", "encoder/embed/positions", POSITIONS_AFTER_CLS),
        *norm("model.atst.norm_frame", "encoder/norm"),
    ),
    block=block("model.atst.blocks.{i}", qkv_bias=False),
    dropped=(
        Dropped(
            r"model\.atst\.mask_embed",
            "stands for masked tokens in pre-training only",
        ),
        Dropped(
            r"model\.atst_mel\.mel_transform\..*",
            "window and filterbank, which the front-end computes itself",
        ),
    ),
)
