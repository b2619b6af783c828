"""AST's checkpoints as the transformers library keeps them (`ASTForAudioClassification`).

Its `convert_audio_spectrogram_transformer_original_to_pytorch.py` renamed AST's keys and
took query, key and value apart; the numbers are AST's.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.weights.layouts import ast
from jaxsed.weights.layouts.rules import External

MODEL = "audio_spectrogram_transformer"
POSITIONS = f"{MODEL}.embeddings.position_embeddings"
# Their key without, below or beside the model -> AST's below the transformer, or whole.
ONCE = {
    f"{MODEL}.embeddings.cls_token": "cls_token",
    f"{MODEL}.embeddings.distillation_token": "dist_token",
    POSITIONS: "pos_embed",
    f"{MODEL}.embeddings.patch_embeddings.projection": "patch_embed.proj",
    f"{MODEL}.layernorm": "norm",
    "classifier.layernorm": f"{ast.WRAPPER}mlp_head.0",
    "classifier.dense": f"{ast.WRAPPER}mlp_head.1",
}
LAYER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
QUERY_KEY_VALUE = [f"attention.attention.{name}" for name in ("query", "key", "value")]


def _layer(index: int, name: str) -> str:
    return f"{MODEL}.encoder.layer.{index}.{name}"


def _names() -> dict[str, str]:
    """Their names of parameters or of what has weight and bias -> AST's."""
    names = dict(ONCE)
    for index in range(ast.FAMILY.depth):
        for theirs, ours in LAYER.items():
            names[_layer(index, theirs)] = f"blocks.{index}.{ours}"
    return names


def to_ast(
    arrays: Mapping[str, np.ndarray], content: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Gives arrays AST's keys and puts query, key and value together."""
    del content
    made, names = dict(arrays), _names()
    for theirs, ours in names.items():
        for end in ("", ".weight", ".bias"):
            if f"{theirs}{end}" in made:
                made[f"{ours}{end}"] = made.pop(f"{theirs}{end}")
    for index in range(ast.FAMILY.depth):
        for end in ("weight", "bias"):
            keys = [f"{_layer(index, name)}.{end}" for name in QUERY_KEY_VALUE]
            if all(key in made for key in keys):
                parts = [made.pop(key) for key in keys]
                made[f"blocks.{index}.attn.qkv.{end}"] = np.concatenate(parts)
    return made, ["keys of the transformers library; query, key and value put together"]


def _keys() -> tuple[str, ...]:
    bare = (*[key for key in ONCE if key.endswith(("token", "embeddings"))],)
    affine = [key for key in _names() if key not in bare and "classifier" not in key]
    for index in range(ast.FAMILY.depth):
        affine += [_layer(index, name) for name in QUERY_KEY_VALUE]
    return *bare, *(f"{key}.{end}" for key in affine for end in ("weight", "bias"))


EXTERNALS = tuple(
    External(
        encoder=encoder,
        name=f"AST of the transformers library ({encoder})",
        licence=ast.LICENCE,
        keys=_keys(),
        fine_tuned=r"classifier\..*",
        adapt=to_ast,
    )
    for encoder in ("ast", "ast_s16")
)
