"""Key layout of AST's checkpoints (YuanGongND/ast), the same at all strides."""

import dataclasses

from jaxsed.weights.layouts.m2d import PATCH
from jaxsed.weights.layouts.rules import (
    TOKEN,
    TOKENS,
    Dropped,
    Family,
    Rule,
    affine,
    block,
    norm,
)

LICENCE = "BSD-3-Clause"
# Files are of models wrapped in `DataParallel`; others may lack its "module.".
WRAPPER = "module."
TRANSFORMER = f"{WRAPPER}v."
# Rows (frequency) and columns (time) of the position tables.
GRID = (8, 64)
OVERLAPPING_GRID = (12, 101)

MLP_HEAD = tuple(
    dataclasses.replace(rule, aliases=(rule.key.removeprefix(WRAPPER),))
    for rule in (
        *norm(f"{WRAPPER}mlp_head.0", "weak_head/norm"),
        *affine(f"{WRAPPER}mlp_head.1", "weak_head"),
    )
)

FAMILY = Family(
    embedding=(
        *affine(f"{TRANSFORMER}patch_embed.proj", "encoder/embed/patch", PATCH),
        Rule(f"{TRANSFORMER}cls_token", "encoder/embed/cls_token", TOKEN),
        Rule(f"{TRANSFORMER}dist_token", "encoder/embed/dist_token", TOKEN),
        Rule(f"{TRANSFORMER}pos_embed", "encoder/embed/positions", TOKENS),
        *norm(f"{TRANSFORMER}norm", "encoder/norm"),
    ),
    block=block(f"{TRANSFORMER}blocks.{{i}}", qkv_bias=True),
    dropped=(
        Dropped(
            r"module\.v\.head(_dist)?\..*", "classifier of ImageNet, which is not used"
        ),
    ),
    licence=LICENCE,
    head="tokens",
    weak_head=MLP_HEAD,
)
