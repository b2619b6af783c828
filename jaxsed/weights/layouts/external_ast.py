"""What AST and SSAST start from that has its patches on another grid.

As the constructors of `ASTModel` in YuanGongND/ast and YuanGongND/ssast
(`src/models/ast_models.py`) make it fit. Given to an encoder by name (`--model`), as the
same files have an encoder of their own.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxsed.weights import position_tables
from jaxsed.weights.layouts import ast, external_deit, ssast
from jaxsed.weights.layouts.rules import Dropped, External, Family

IMAGE_GRID = (24, 24)  # of DeiT at 384 x 384 pixels


def _fits(
    stored: tuple[int, int], wanted: tuple[int, int]
) -> Callable[[Mapping[str, np.ndarray], Any], tuple[dict, list[str]]]:
    def adapt(arrays, content):
        del content
        arrays, notes = dict(arrays), []
        if "pos_embed" in arrays:
            table = arrays["pos_embed"]
            arrays["pos_embed"] = position_tables.fitted(table, stored, wanted)
            sizes = [f"{rows} x {columns}" for rows, columns in (stored, wanted)]
            notes.append(f"positions cut or stretched from {sizes[0]} to {sizes[1]}")
        kernel = arrays.get("patch_embed.proj.weight")
        if kernel is not None and kernel.shape[1] > 1:
            arrays["patch_embed.proj.weight"] = position_tables.of_one_channel(kernel)
            notes.append("patch kernels summed over colours")
        return arrays, notes

    return adapt


def _keys(family: Family) -> tuple[str, ...]:
    rules = list(family.embedding)
    for index in range(family.depth):
        rules += [rule.numbered(index) for rule in family.block]
    return tuple(rule.key.removeprefix(ast.TRANSFORMER) for rule in rules)


def _of_deit(encoder: str, grid: tuple[int, int]) -> External:
    return External(
        encoder=encoder,
        name=f"{external_deit.EXTERNAL.name} for {encoder}",
        licence=external_deit.EXTERNAL.licence,
        dropped=external_deit.EXTERNAL.dropped,
        keys=external_deit.EXTERNAL.keys,
        adapt=_fits(IMAGE_GRID, grid),
    )


FROM_DEIT = tuple(
    _of_deit(encoder, grid)
    for encoder, grid in (("ast", ast.OVERLAPPING_GRID), ("ast_s16", ast.GRID))
)
FROM_OVERLAPPING = External(
    encoder="ast_s16",
    name="AST with overlapping patches for ast_s16",
    licence=ast.LICENCE,
    dropped=(
        Dropped(r"(.*\.)?head(_dist)?\..*", "classifier of ImageNet"),
        Dropped(r"(.*\.)?mlp_head\..*", "classifier of the model with other patches"),
    ),
    keys=_keys(ast.FAMILY),
    adapt=_fits(ast.OVERLAPPING_GRID, ast.GRID),
)
FROM_PRETRAINING = External(
    encoder="ssast_s10",
    name="SSAST as pre-trained for ssast_s10",
    licence=ast.LICENCE,
    dropped=(
        Dropped(r"(.*\.)?head(_dist)?\..*", "classifier of ImageNet"),
        *ssast.FAMILY.dropped,
    ),
    keys=_keys(ast.FAMILY),
    adapt=_fits(ast.GRID, ast.OVERLAPPING_GRID),
)
EXTERNALS = (*FROM_DEIT, FROM_OVERLAPPING, FROM_PRETRAINING)
