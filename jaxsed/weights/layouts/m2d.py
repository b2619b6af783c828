"""Key layout of M2D's checkpoints."""

import numpy as np

from jaxsed.weights.layouts.rules import (
    TOKEN,
    TOKENS,
    Dropped,
    Family,
    Rule,
    Transform,
    affine,
    block,
    norm,
)

# [d, 1, mel, time] to [time, mel, d]
PATCH = Transform(
    "patch, mel x time",
    lambda x: np.squeeze(x, 1).transpose(2, 1, 0),
    lambda x: x.transpose(2, 1, 0)[:, None],
)

FAMILY = Family(
    embedding=(
        *affine("model.backbone.patch_embed.proj", "encoder/embed/patch", PATCH),
        Rule("model.backbone.cls_token", "encoder/embed/cls_token", TOKEN),
        Rule("model.backbone.pos_embed", "encoder/embed/positions", TOKENS),
        *norm("model.backbone.norm", "encoder/norm"),
    ),
    block=block("model.backbone.blocks.{i}", qkv_bias=True),
    dropped=(
        Dropped(
            r"model\.backbone\.norm_stats",
            "mean and deviation of mel spectrograms: the original loads them and then "
            "normalises with its constants -7.1 and 4.2, as the front-end does",
        ),
        Dropped(
            r"model\.to_spec\..*",
            "Fourier kernels and filterbank, which the front-end computes itself",
        ),
    ),
)
