"""What belongs to distances between tokens, when their steps become longer or shorter.

Tokens `rows` to a step lie in one line, so that a distance of n tokens is one of q steps
and r rows: `n = rows * q + r`, r from the middle of the rows on either side of 0. Another
compression changes how long a step is, and leaves the rows alone: what was q steps is
`q * ratio`, and r stays. NumPy only.
"""

import numpy as np


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
