"""Resizing of position tables, patch kernels and images, as matrices. NumPy only.

A matrix `[n_out, n_in]` resizes one axis (`along`). What has two axes is resized one
after the other: the matrix for both together is their Kronecker product, and so is its
pseudo-inverse. One axis may grow while the other shrinks, where a pseudo-inverse of the
product, rank-deficient then, would have to tell zeros from rounding.
"""

import functools
from collections.abc import Callable

import numpy as np

CUBIC_A = -0.75  # slope at distance 1: PyTorch's `interpolate(mode="bicubic")`


@functools.cache
def bicubic_matrix(n_in: int, n_out: int, align_corners: bool = False) -> np.ndarray:
    """Cubic convolution along one axis (Keys, 1981, with a = -0.75).

    PyTorch's `interpolate(mode="bicubic", antialias=False)`, an axis at a time: the
    outermost points are repeated beyond the edges, and shrinking reads four neighbours
    all the same.
    `bicubic_matrix(h, H) @ x @ bicubic_matrix(w, W).T` resizes `x [h, w]` to `[H, W]`.

    Args:
        n_in: Number of points in.
        n_out: Number of points out.
        align_corners: Whether the outermost points of both stay where they are; else
            points sit in the middle of their cells, and the axis keeps its ends.

    Returns:
        float64 `[n_out, n_in]`, rows sum to 1, not writable.
    """
    centre = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    if align_corners:
        centre = np.arange(n_out) * ((n_in - 1) / max(1, n_out - 1))
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


@functools.cache
def bilinear_matrix(
    n_in: int,
    n_out: int,
    antialias: bool = False,
    scale: float | None = None,
    middle: float = 0.5,
) -> np.ndarray:
    """Linear interpolation along one axis.

    PyTorch's `interpolate(mode="bilinear", align_corners=False)`, an axis at a time:
    points sit in the middle of their cells, and the outermost are held beyond the edges.

    Args:
        n_in: Number of points in.
        n_out: Number of points out.
        antialias: Whether shrinking averages all points in reach, under a triangle,
            and not just the two nearest. Growing is the same either way.
        scale: Points in for a point out; None for `n_in / n_out`, so that the ends of
            both axes meet. Otherwise their beginnings do.
        middle: How far behind the beginning of its cell a point sits, in cells: half
            of what it stands for, which is more than its cell where points overlap.

    Returns:
        float64 `[n_out, n_in]`, rows sum to 1, not writable.
    """
    scale = n_in / n_out if scale is None else scale
    centre = (np.arange(n_out) + middle) * scale - middle
    reach = max(scale, 1.0) if antialias else 1.0
    centre = np.clip(centre, 0, n_in - 1) if reach == 1 else centre
    distance = np.abs(centre[:, None] - np.arange(n_in))
    matrix = np.maximum(0.0, 1.0 - distance / reach)
    matrix /= matrix.sum(axis=1, keepdims=True)
    matrix.setflags(write=False)
    return matrix


@functools.cache
def pseudo_inverse_matrix(n_in: int, n_out: int, antialias: bool = False) -> np.ndarray:
    """PI-resize of a kernel along one axis (FlexiViT, Beyer et al., 2023, section 3.4).

    The kernel whose products with bilinearly resized inputs are, in the sense of least
    squares, those of the old kernel with the inputs themselves: the pseudo-inverse of
    the transposed `bilinear_matrix`. Exact where the kernel grows.

    Args:
        n_in: Length of the old kernel.
        n_out: Length of the new one.
        antialias: Of the inputs' resize.

    Returns:
        float64 `[n_out, n_in]`, not writable.
    """
    matrix = np.linalg.pinv(bilinear_matrix(n_in, n_out, antialias).T, rcond=1e-10)
    matrix.setflags(write=False)
    return matrix


KERNEL_MATRICES: dict[str, Callable[[int, int], np.ndarray]] = {
    "bl": bilinear_matrix,
    "bl_aa": functools.partial(bilinear_matrix, antialias=True),
    "pi": pseudo_inverse_matrix,
}


def resized_kernel(
    kernel: np.ndarray, sizes: dict[int, int], method: str
) -> np.ndarray:
    """Resizes axes of a patch kernel.

    Args:
        kernel: `[...]`.
        sizes: Axis -> new length.
        method: Of `KERNEL_MATRICES`: "bl" (bilinear), "bl_aa" (with antialias) or "pi"
            (pseudo-inverse).

    Returns:
        float64.
    """
    for axis, n_out in sizes.items():
        matrix = KERNEL_MATRICES[method](kernel.shape[axis], n_out)
        kernel = along(axis, matrix, kernel)
    return kernel


def along(axis: int, matrix: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Multiplies one axis of an array: `matrix [n_out, n_in]`, n_in its length there."""
    return np.moveaxis(np.tensordot(matrix, array, (1, axis)), 0, axis)
