"""What belongs to distances between tokens, when their steps become longer or shorter.

Tokens `rows` to a step lie in one line, so that a distance of n tokens is one of q steps
and r rows: `n = rows * q + r`, r from the middle of the rows on either side of 0. Another
compression changes how long a step is, and leaves the rows alone: what was q steps is
`q * ratio`, and r stays. BEATs has a bias and a convolution by distance.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.models.beats import position_taps
from jaxsed.models.relative_bias import bucket_indices
from jaxsed.models.resize import along


def split(distances: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns steps and rows of distances in tokens, int like them."""
    across = (distances + rows // 2) % rows - rows // 2
    return (distances - across) // rows, across


def stretched(
    distances: np.ndarray, rows: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two nearest distances on another grid, and how near they are.

    Args:
        distances: int `[n]`, in tokens.
        rows: Tokens a step has, on both grids.
        ratio: Steps of the other grid that a step is.

    Returns:
        Distances, int `[2, n]`, and weights that sum to 1, float64 `[2, n]`.
    """
    steps, across = split(distances, rows)
    lower = np.floor(steps * ratio).astype(int)
    share = steps * ratio - lower
    both = np.stack([lower, lower + 1]) * rows + across
    return both, np.stack([1 - share, share])


def gathered_taps(n_in: int, n_out: int, rows: int, ratio: float) -> np.ndarray:
    """A convolution's taps for steps that are `ratio` times as long.

    Each tap goes to the two nearest in time, in its row; from beyond the ends to the
    last ones. So the sums over all taps of a row, which are all that a sound that does
    not change has of the convolution, stay as they were.

    Args:
        n_in: Number of taps; tap j sees the token at distance `j - n_in // 2`.
        n_out: Number of taps wanted.
        rows: Tokens of a step.
        ratio: At least 1.

    Returns:
        float64 `[n_out, n_in]`, columns sum to 1.
    """
    first, last = -(n_out // 2), n_out - n_out // 2 - 1
    taps = np.arange(n_in)
    distances, weights = stretched(taps - n_in // 2, rows, 1 / ratio)
    steps, across = split(distances, rows)
    steps = np.clip(steps, -((across - first) // rows), (last - across) // rows)
    matrix = np.zeros((n_out, n_in))
    np.add.at(matrix, (steps * rows + across - first, taps), weights)
    return matrix


def spread_taps(n_in: int, n_out: int, rows: int, ratio: float) -> np.ndarray:
    """A convolution's taps for steps that are `ratio` times as short.

    The other way round: a tap is shared out among those that `gathered_taps` would
    gather into it, in the same proportions.

    Returns:
        float64 `[n_out, n_in]`, columns sum to 1.
    """
    matrix = gathered_taps(n_out, n_in, rows, ratio).T
    return matrix / matrix.sum(axis=0)


def relative_bias(table: np.ndarray, change: Any) -> np.ndarray:
    """BEATs' biases by bucket of distances, `[buckets, heads]`.

    A bias belongs to a distance in time and rows. Each new distance has the old bias of
    the same time, between the two nearest numbers of steps; a bucket has the mean of its
    distances. So attention goes to the times that it went to.
    """
    config = change.after.config
    reach = np.arange(-config.max_distance, config.max_distance + 1)

    def buckets(distances):
        return bucket_indices(distances, config.n_buckets, config.max_distance)

    rows = change.after.grid.rows
    distances, weights = stretched(reach, rows, change.ratio)
    bias = (weights[..., None] * table[buckets(distances)]).sum(axis=0)
    # A bucket that no distance falls into is never read.
    member = buckets(reach) == np.arange(len(table))[:, None]
    count = member.sum(axis=1, keepdims=True)
    return np.where(count > 0, member @ bias / np.maximum(count, 1), table)


def position_convolution(conv: Mapping[str, Any], change: Any) -> dict[str, np.ndarray]:
    """BEATs' convolution for positions: as long in time, over steps of another length.

    What a tap saw in a step, several share out among theirs, or one has of several.

    Args:
        conv: `direction [taps, d / groups, d]`, `magnitude [taps]` and `bias [d]`.
        change: From what to what.
    """
    direction = np.asarray(conv["direction"], np.float64)
    kernel = direction * (conv["magnitude"] / _norms(direction))[:, None, None]
    encoders = change.before, change.after
    n_in, n_out = (position_taps(encoder.config, encoder.grid) for encoder in encoders)
    rows, ratio = change.after.grid.rows, change.ratio
    if ratio >= 1:
        matrix = gathered_taps(n_in, n_out, rows, ratio)
    else:
        matrix = spread_taps(n_in, n_out, rows, 1 / ratio)
    kernel = along(0, matrix, kernel)
    return {**conv, "direction": kernel, "magnitude": _norms(kernel)}


def _norms(kernel: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(kernel).sum(axis=(1, 2)))
