"""Resizing of position tables and images, as matrices. NumPy only."""

import functools

import numpy as np

CUBIC_A = -0.75  # slope at distance 1: PyTorch's `interpolate(mode="bicubic")`


@functools.cache
def bicubic_matrix(n_in: int, n_out: int) -> np.ndarray:
    """Cubic convolution along one axis (Keys, 1981, with a = -0.75).

    PyTorch's `interpolate(mode="bicubic", align_corners=False, antialias=False)`, an
    axis at a time: points sit in the middle of their cells, the outermost ones are
    repeated beyond the edges, and shrinking reads four neighbours all the same.
    `bicubic_matrix(h, H) @ x @ bicubic_matrix(w, W).T` resizes `x [h, w]` to `[H, W]`.

    Args:
        n_in: Number of points in.
        n_out: Number of points out.

    Returns:
        float64 `[n_out, n_in]`, rows sum to 1, not writable.
    """
    centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    neighbours = np.floor(centre).astype(int)[:, None] + np.arange(-1, 3)
    weights = _cubic(np.abs(centre[:, None] - neighbours))
    matrix = np.zeros((n_out, n_in))
    rows = np.arange(n_out)[:, None]
    np.add.at(matrix, (rows, np.clip(neighbours, 0, n_in - 1)), weights)
    matrix.setflags(write=False)
    return matrix


def _cubic(distance):
    """Weight of a neighbour at `distance`, which is below 2."""
    x, a = distance, CUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, far)
