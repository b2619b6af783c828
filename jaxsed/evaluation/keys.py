"""Scores as unsigned integers of the same order, and how often each occurs.

PSDS and pAUROC ask which of two scores is higher, never by how much. With integers
instead of scores, counting what happens at every threshold is a histogram, and the
median filter compares twice to four times as many values at once.
"""

import numpy as np

# Lower than the key of any score: where it stands nothing is ever detected.
NO_SCORE = 0

N_FLOAT16_KEYS = 1 << 16
_ZERO = 0x8000  # the key of 0.0
_INFINITE = 0x7C00  # bits of infinity; NaNs have higher ones


def of_float16(scores: np.ndarray) -> np.ndarray:
    """Returns uint16 keys: equal for equal scores (0 and -0 too), higher for higher.

    The bits of a float16 without its sign, read as an integer, grow with its size.

    Args:
        scores: float16, any shape.
    """
    bits = scores.view(np.int16)
    negative = bits >> 15  # -1 or 0
    signed = (bits ^ (negative & 0x7FFF)) - negative
    return signed.view(np.uint16) ^ np.uint16(_ZERO)


def all_finite(keys: np.ndarray) -> bool:
    """Says whether these are keys of float16 numbers, neither infinite nor NaN."""
    return bool(keys.min() > _ZERO - _INFINITE and keys.max() < _ZERO + _INFINITE)


def ranks(scores: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns keys of floats of any precision: 1 for the lowest, 2 for the next.

    Args:
        scores: float `[n]`, finite.

    Returns:
        `(keys uint32 [n], n_keys)`; all keys are below `n_keys - 1`, so that, as among
        the keys of float16, one is higher than all scores.
    """
    different, place = np.unique(scores, return_inverse=True)
    return (place + 1).astype(np.uint32), len(different) + 2


def add_counts(histogram: np.ndarray, keys: np.ndarray, sign: int = 1) -> None:
    """Adds how often each key occurs, or takes it away.

    Args:
        histogram: int `[n_keys]`, changed in place.
        keys: unsigned or int64 `[n]`.
        sign: 1 or -1.
    """
    if not keys.size:
        return
    lowest = int(keys.min())
    counts = np.bincount(np.subtract(keys, lowest, dtype=np.int64))
    histogram[lowest : lowest + len(counts)] += sign * counts.astype(histogram.dtype)


def from_the_top(changes: np.ndarray) -> np.ndarray:
    """Sums changes at keys into the numbers that hold at each threshold, int64."""
    return np.cumsum(changes[::-1], dtype=np.int64)[::-1]
