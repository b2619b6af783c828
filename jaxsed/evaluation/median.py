"""Median filtering of frame scores along time, for many clips and classes at once."""

import functools
import math
from collections.abc import Sequence

import numpy as np

from jaxsed.errors import InputError

# Width in the paper (Schmid et al., "Effective Pre-Training of Audio Transformers for
# Sound Event Detection"): 0.48 s, 12 label frames of 40 ms. The released code runs
# with 9 frames (0.36 s): ex_audioset_strong.py, --median_window.
PAPER_MEDIAN_SECONDS = 0.48
RELEASED_CODE_MEDIAN_SECONDS = 0.36
_WIDTH_DECIMALS = 6  # of frames


def median_width_frames(median_seconds: float, frame_seconds: float) -> int:
    """Returns the filter's width in frames, the nearest whole number.

    Half a frame goes to the even neighbour, as in the HEAR evaluation kit: 0.25 s of 20 ms
    frames are 12. `frame_seconds` may be off by what floating point makes of a mean.

    Args:
        median_seconds: width in seconds; 0 switches the filter off.
        frame_seconds: distance of two frames in seconds.

    Raises:
        InputError: the width is negative or not a number.
    """
    if not (math.isfinite(median_seconds) and median_seconds >= 0):
        raise InputError(
            f"median filter width {median_seconds} s: expected 0 (off) or a positive "
            f"number of seconds, for example {PAPER_MEDIAN_SECONDS}"
        )
    return round(round(median_seconds / frame_seconds, _WIDTH_DECIMALS))


def median_filter(scores: np.ndarray, width_frames: int) -> np.ndarray:
    """Runs a median filter along time.

    Gives exactly what `scipy.ndimage.median_filter` gives with `width_frames` along
    time, the filter of the released code (helpers/decode.py): the ends are reflected
    with the border frame repeated (c b a | a b c). For an even width, as the paper's
    12, the window of frame t is t - width/2 to t + width/2 - 1, and of the two middle
    values the larger one is taken; the filter thus looks half a frame back.

    The filter commutes with every increasing function, so logits and probabilities
    give the same decisions.

    Args:
        scores: float `[..., t, c]`, without NaN. float16 is computed in float32, which
            changes nothing.
        width_frames: window length; 0 and 1 return the scores as they are.

    Returns:
        Array of the same shape and dtype.
    """
    n_frames, n_classes = scores.shape[-2:]
    if width_frames <= 1 or scores.size == 0:
        return scores
    # numpy compares float16 one by one, float32 many at a time.
    working = scores.astype(np.float32) if scores.dtype == np.float16 else scores
    working = working.reshape(-1, n_frames, n_classes)
    reflected = working[:, reflected_frames(n_frames, width_frames)]
    filtered = np.empty(reflected.shape, reflected.dtype)
    sliding_upper_median(
        reflected.ravel(), width_frames, filtered.reshape(-1), n_classes
    )
    return filtered[:, :n_frames].astype(scores.dtype).reshape(scores.shape)


def median_filter_by_class(scores: np.ndarray, widths: Sequence[int]) -> np.ndarray:
    """Runs a median filter along time, each class with a width of its own.

    Args:
        scores: float `[t, c]`, without NaN.
        widths: c window lengths in frames, as of `median_filter`.

    Returns:
        Array of the same shape and dtype.
    """
    different, width_of = np.unique(np.asarray(widths), return_inverse=True)
    if len(different) == 1:
        return median_filter(scores, int(different[0]))
    filtered = np.empty_like(scores)
    for which, width in enumerate(different):
        classes = width_of == which
        filtered[:, classes] = median_filter(scores[:, classes], int(width))
    return filtered


@functools.lru_cache(maxsize=64)
def reflected_frames(n_frames: int, width_frames: int) -> np.ndarray:
    """Returns which frames the windows of a clip run over, its ends being reflected.

    Args:
        n_frames: length of the clip.
        width_frames: window length, at least 1.

    Returns:
        int64 `[n_frames + width_frames - 1]`; frame t has the window that starts at t.
    """
    before = width_frames // 2
    after = width_frames - 1 - before
    frames = np.pad(np.arange(n_frames), (before, after), mode="symmetric")
    frames.flags.writeable = False
    return frames


# Values per tile: its sorted windows (about 2 x width arrays) stay in the cache, and
# numpy's calls cost little beside what they do.
_TILE_VALUES = 1 << 16


def sliding_upper_median(
    values: np.ndarray, width: int, out: np.ndarray, step: int = 1
) -> None:
    """Writes the upper median of the window of every value, along a flat array.

    Args:
        values: `[n]`, any type that can be compared, without NaN.
        width: values a window.
        out: `[n]`; place i gets the median of values i, i + step, i + 2 step, ...
            Places whose window would not end within the array are left as they are.
        step: distance of the values of a window.
    """
    reach = (width - 1) * step
    tile = max(_TILE_VALUES, 2 * reach)
    for start in range(0, len(values) - reach, tile):
        window = values[start : start + tile + reach]
        out[start : start + len(window) - reach] = _upper_medians(window, width, step)


def _upper_medians(values: np.ndarray, width: int, step: int) -> np.ndarray:
    """Returns the upper median of every window that ends within the array.

    A window is sorted by merging two sorted windows of half its length, and these are
    shared by all windows that contain them; a width that is no power of two is put
    together from the powers in its binary form. Whole arrays are compared at a time.
    """
    power, span = [values], 1  # the sorted windows of `span` values, by their start
    ordered: list[np.ndarray] = []  # those made of the bits of `width` seen so far
    ordered_span = 0
    for bit in range(width.bit_length()):
        if bit:
            power = _merge(*_side_by_side(power, power, span * step))
            span *= 2
        if width >> bit & 1:
            parts = _side_by_side(ordered, power, ordered_span * step)
            ordered_span += span
            if ordered_span == width:
                return _rank_of_both(*parts, width // 2)
            ordered = _merge(*parts)
    raise AssertionError("unreachable: a width is the sum of its bits")


def _side_by_side(
    first: list[np.ndarray], second: list[np.ndarray], distance: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Cuts sorted windows so that `second` starts `distance` values after `first`."""
    second = [ranked[distance:] for ranked in second]
    return [ranked[: len(second[0])] for ranked in first], second


def _rank_of_both(
    left: list[np.ndarray], right: list[np.ndarray], rank: int
) -> np.ndarray:
    """Returns the values of one rank (0 for the lowest) among two ascending lists.

    However many of the `rank + 1` lowest values the left list is asked for, the highest
    value taken is at least the one sought, and with the right number it is that one.
    """
    lowest = None
    for n_left in range(len(left) + 1):
        n_right = rank + 1 - n_left
        if not 0 <= n_right <= len(right):
            continue
        taken = [part[n - 1] for part, n in ((left, n_left), (right, n_right)) if n]
        highest = np.maximum(*taken) if len(taken) == 2 else taken[0]
        lowest = highest if lowest is None else np.minimum(lowest, highest)
    return lowest


def _merge(left: list[np.ndarray], right: list[np.ndarray]) -> list[np.ndarray]:
    """Merges two ascending lists of arrays, value by value: Batcher's odd-even merge.

    Source: Knuth, The Art of Computer Programming, vol. 3, section 5.3.4, which gives
    it for lists of any two lengths.
    """
    if not left or not right:
        return left or right
    if len(left) == len(right) == 1:
        return [np.minimum(left[0], right[0]), np.maximum(left[0], right[0])]
    firsts = _merge(left[::2], right[::2])
    seconds = _merge(left[1::2], right[1::2])
    merged = [firsts[0]]
    for low, high in zip(seconds, firsts[1:], strict=False):
        merged += [np.minimum(low, high), np.maximum(low, high)]
    pairs = min(len(seconds), len(firsts) - 1)
    return merged + seconds[pairs:] + firsts[1 + pairs :]
