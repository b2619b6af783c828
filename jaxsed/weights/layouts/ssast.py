"""Key layout of SSAST's checkpoints (YuanGongND/ssast): AST's, and pre-training's own."""

import dataclasses
import re

from jaxsed.weights.layouts import ast
from jaxsed.weights.layouts.rules import TOKEN, Dropped, Rule, affine

_INPUT_SIZE = r"(module\.)?p_input_[ft]dim"
_OF_PRETRAINING = "used by the pre-training only"

# Of `models.masked_patches`. "c" is for classification, "g" for generation.
PRETEXT = tuple(
    dataclasses.replace(rule, aliases=(rule.key.removeprefix(ast.WRAPPER),))
    for rule in (
        Rule(f"{ast.WRAPPER}mask_embed", "mask_token", TOKEN),
        *affine(f"{ast.WRAPPER}cpredlayer.0", "discriminative_head/fc1"),
        *affine(f"{ast.WRAPPER}cpredlayer.2", "discriminative_head/fc2"),
        *affine(f"{ast.WRAPPER}gpredlayer.0", "generative_head/fc1"),
        *affine(f"{ast.WRAPPER}gpredlayer.2", "generative_head/fc2"),
    )
)

# With patches on another grid than that of the pre-training.
FAMILY = dataclasses.replace(
    ast.FAMILY,
    dropped=(
        *ast.FAMILY.dropped,
        Dropped(_INPUT_SIZE, _OF_PRETRAINING),
        *(
            Dropped(re.escape(key), _OF_PRETRAINING)
            for rule in PRETEXT
            for key in (rule.key, *rule.aliases)
        ),
    ),
)
PRETRAINED = dataclasses.replace(
    ast.FAMILY,
    dropped=(
        *ast.FAMILY.dropped,
        Dropped(_INPUT_SIZE, "size of the spectrogram, which is always the same"),
    ),
    pretext=PRETEXT,
)
