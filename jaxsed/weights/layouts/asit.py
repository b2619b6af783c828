"""Key layout of ASiT's checkpoints."""

import numpy as np

from jaxsed.weights.layouts.rules import (
    TOKEN,
    TOKENS,
    Family,
    Rule,
    Transform,
    affine,
    block,
    norm,
)

# [d, 1, time, mel] to [time, mel, d]
PATCH = Transform(
    "patch, time x mel",
    lambda x: np.squeeze(x, 1).transpose(1, 2, 0),
    lambda x: x.transpose(2, 0, 1)[:, None],
)

FAMILY = Family(
    embedding=(
        *affine("model.patch_embed.proj", "encoder/embed/patch", PATCH),
        Rule("model.cls_token", "encoder/embed/cls_token", TOKEN),
        # As stored, 1 + 8 x 37: the encoder resizes them to its grid.
        Rule("model.pos_embed", "encoder/embed/positions", TOKENS),
        *norm("model.norm", "encoder/norm"),
    ),
    block=block("model.blocks.{i}", qkv_bias=True),
)
