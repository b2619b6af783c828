"""Key layout of SSAST's checkpoints (YuanGongND/ssast): AST's, and pre-training's own."""

import dataclasses

from jaxsed.weights.layouts import ast
from jaxsed.weights.layouts.rules import Dropped

FAMILY = dataclasses.replace(
    ast.FAMILY,
    dropped=(
        *ast.FAMILY.dropped,
        Dropped(
            r"(module\.)?(mask_embed|p_input_[ft]dim|[cg]predlayer\..*)",
            "used by the pre-training only",
        ),
    ),
)
