"""Biases of windows over HTS-AT's image, when its time steps become longer or shorter."""

from typing import Any

import numpy as np

from jaxsed.models.resize import bilinear_matrix
from jaxsed.models.windows import position_index


def resized(table: np.ndarray, change: Any) -> np.ndarray:
    """Gives pairs of tokens the bias of those that lay at the same times.

    Of the last stage, whose window spans the image, so that another image has another
    window. Each chunk of it is two rows of tokens, low and high frequencies, and columns
    go on through the chunks in time. Between two steps biases are interpolated; pairs
    that share a row of the new table have their mean. (Resizing the table as a picture, as
    is usual, errs three times as much where biases depend on time alone: it does not know
    of chunks.) Windows of other stages have as many
    tokens as before, and keep their biases by token, as is usual with Swin.

    Args:
        table: `[(2 h - 1) * (2 w - 1), heads]`, of any block: stages differ in their
            heads.
        change: A `resolution.Change`.

    Returns:
        float64, of the new window.
    """
    before, after = change.before, change.after
    if table.shape[1] != before.config.heads[-1]:
        return table
    nearness = bilinear_matrix(before.grid.steps, after.grid.steps, scale=change.ratio)
    (old_size, old_step, old_row), (new_size, new_step, new_row) = map(
        _tokens, (before, after)
    )
    # From tokens of the new window to those of the old one, each row with its own.
    weights = nearness[np.ix_(new_step, old_step)] * (new_row[:, None] == old_row)
    bias = table[position_index(old_size)]
    bias = np.einsum("qs,kt,sth->qkh", weights, weights, bias, optimize=True)
    index = position_index(new_size)
    total = np.zeros(((2 * new_size[0] - 1) * (2 * new_size[1] - 1), table.shape[1]))
    np.add.at(total, index, bias)
    return total / np.bincount(index.ravel())[:, None]


def _tokens(encoder) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Height and width of the last stage's window; step and row of each of its tokens."""
    grid, chunks = encoder.grid, encoder.folding.chunks
    size = grid.rows * chunks, grid.steps // chunks
    row, column = np.indices(size).reshape(2, -1)
    return size, row // grid.rows * size[1] + column, row % grid.rows
