"""Position tables of AST and SSAST on another grid of patches. NumPy only."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.models.resize import along, bilinear_matrix

if TYPE_CHECKING:
    from jaxsed.models.tokens import Grid

TOKENS = 2  # CLS and DIST in front, whose positions are kept


def fitted(
    table: np.ndarray, stored: tuple[int, int], wanted: tuple[int, int]
) -> np.ndarray:
    """Makes a table fit another number of rows and columns, as AST's constructors do.

    An axis that is to have fewer positions is cut out of the middle, so that distances
    keep their meaning; one that is to have more is interpolated. One rule for all three
    of `src/models/ast_models.py` in YuanGongND/ast (from DeiT's 24 x 24, and from the
    AudioSet model's 12 x 101) and YuanGongND/ssast (from pre-training's 8 x 64).

    This is not what happens between phases of different compression, where the same
    time is divided into more steps (`weights/resolution.py`).

    Args:
        table: `[1, 2 + rows * columns, d]`, one row after the other.
        stored: Its rows (frequency) and columns (time).
        wanted: Those of the new table.

    Returns:
        `[1, 2 + rows * columns, d]` of the type of `table`.

    Raises:
        ValueError: The table has another size than `stored`.
    """
    first, grid = table[0, :TOKENS], table[0, TOKENS:]
    grid = grid.reshape(*stored, grid.shape[-1])
    for axis, n_wanted in enumerate(wanted):
        n_stored = stored[axis]
        if n_wanted < n_stored:
            start = n_stored // 2 - n_wanted // 2
            grid = np.take(grid, range(start, start + n_wanted), axis)
        else:
            grid = along(axis, bilinear_matrix(n_stored, n_wanted), grid)
    grid = grid.reshape(-1, grid.shape[-1])
    return np.concatenate([first, grid]).astype(table.dtype)[None]


def differ(before: "Grid", after: "Grid") -> bool:
    """Says whether patches begin at other intervals, whatever the compression."""
    sizes = [(grid.rows, grid.full_steps or grid.steps) for grid in (before, after)]
    return sizes[0] != sizes[1]


def refitted(
    encoder: Mapping[str, Any], before: "Grid", after: "Grid"
) -> dict[str, Any]:
    """Parameters of an encoder for patches at other intervals, as `fitted` does.

    Args:
        encoder: `embed/positions [2 + rows * columns, d]`; all else is passed on.
        before: How its patches lie.
        after: How they are to lie.

    Raises:
        InputError: One of them is compressed.
    """
    if before.factor != 1 or after.factor != 1:
        raise InputError(
            "patches cannot begin at other intervals and be compressed in one step; "
            "start from compression=none"
        )
    embed = encoder["embed"]
    table = np.asarray(embed["positions"])[None]
    sizes = [(grid.rows, grid.columns) for grid in (before, after)]
    return {**encoder, "embed": {**embed, "positions": fitted(table, *sizes)[0]}}


def of_one_channel(kernel: np.ndarray) -> np.ndarray:
    """A patch kernel of images for spectrograms, which have one channel: the sum.

    A grey image, all its channels alike, gives the tokens that it gave.

    Args:
        kernel: `[d, channels, height, width]`.

    Returns:
        `[d, 1, height, width]`.
    """
    return kernel.sum(axis=1, keepdims=True, dtype=np.float64).astype(kernel.dtype)
