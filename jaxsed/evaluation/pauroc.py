"""Segment-based partial AUROC.

Every clip is cut into segments of one second. A segment is positive for a class if a
true event touches it, its score is the highest frame score in it, and the ROC curve of
the class is integrated up to a false positive rate of 0.1 and divided by 0.1
(PretrainedSED ex_audioset_strong.py, on_validation_epoch_end; Ebbers et al. 2022).

The definition is that of sed_scores_eval 0.0.4 (`segment_based.auroc`), with which the
tests compare, but for one thing: there a segment without any frame has the score 0,
which is the lowest only of probabilities. Here it is lower than every score.
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxsed.evaluation.strips import Layout, ranges
from jaxsed.evaluation.truth import ClassEvents

SEGMENT_SECONDS = 1.0
MAX_FALSE_POSITIVE_RATE = 0.1

_TIME_DECIMALS = 6  # sed_scores_eval's default


class Segments:
    """How clips are cut into segments.

    Args:
        borders: borders of each clip's frames in seconds, b arrays `[t + 1]`. Clips with
            the same frames may share an array.
        durations: length of each clip in seconds.

    Attributes:
        n_segments: int64 `[b]`.
    """

    def __init__(self, borders: Sequence[np.ndarray], durations: Sequence[float]):
        found: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
        of_clips = []
        for of_clip, duration in zip(borders, durations, strict=True):
            n_segments = math.ceil(duration / SEGMENT_SECONDS)
            kind = id(of_clip), n_segments
            if kind not in found:
                found[kind] = _frames_of_segments(of_clip, n_segments)
            of_clips.append(found[kind])
        self.n_segments = np.array([len(first) for first, _ in of_clips], np.int64)
        self._first = np.concatenate([first for first, _ in of_clips])
        self._stop = np.concatenate([stop for _, stop in of_clips])

    def of(self, clips: np.ndarray, layout: Layout) -> "SegmentsOfStrip":
        """Looks up where the segments of some clips lie in a strip of these clips."""
        n_segments = self.n_segments[clips]
        segments = ranges(
            (np.cumsum(self.n_segments) - self.n_segments)[clips], n_segments
        )
        start = np.repeat(layout.starts, n_segments)
        return SegmentsOfStrip(
            start + self._first[segments], start + self._stop[segments], n_segments
        )


def _frames_of_segments(
    borders: np.ndarray, n_segments: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first frame that reaches into each segment, and the first after it."""
    borders = np.round(borders, _TIME_DECIMALS)
    edges = np.round(np.arange(n_segments + 1) * SEGMENT_SECONDS, _TIME_DECIMALS)
    first = np.searchsorted(borders, edges[:-1], side="right") - 1
    stop = np.searchsorted(borders, edges[1:], side="left")
    return np.maximum(first, 0), np.minimum(stop, len(borders) - 1)


class SegmentsOfStrip:
    """Where segments lie in a strip, prepared for the highest key in each.

    Args:
        first: int64 `[s]`, position of the first frame of each segment, by clip.
        stop: int64 `[s]`, position after its last frame; where that is not greater,
            there is no frame.
        n_segments: int64 `[b]`, segments of each clip.
    """

    def __init__(self, first: np.ndarray, stop: np.ndarray, n_segments: np.ndarray):
        self._n_segments = n_segments
        empty = stop <= first
        first = np.where(empty, 0, first)  # no clip has a score there
        length = np.where(empty, 1, stop - first)
        # A segment is covered by two windows whose length is a power of two.
        power = np.log2(length).astype(np.int64)
        second = first + length - (1 << power)
        self._windows = []
        for bit in range(int(power.max(initial=0)) + 1):
            segment = np.flatnonzero(power == bit)
            self._windows.append((segment, first[segment], second[segment]))

    def highest(self, strip: np.ndarray) -> np.ndarray:
        """Returns the highest key in each segment, `[s]`."""
        found = np.empty(int(self._n_segments.sum()), strip.dtype)
        window = strip  # the highest of 1, 2, 4, ... keys from each position on
        for bit, (segment, first, second) in enumerate(self._windows):
            if bit:
                span = 1 << (bit - 1)
                window = np.maximum(window[:-span], window[span:])
            found[segment] = np.maximum(window[first], window[second])
        return found

    def touched(self, events: ClassEvents) -> np.ndarray:
        """Says which segments are positive, bool `[s]`.

        Args:
            events: of the clips of the strip; `clip` counts from 0.
        """
        n_segments = self._n_segments[events.clip]
        start = (np.cumsum(self._n_segments) - self._n_segments)[events.clip]
        segment = ranges(start, n_segments)
        onset = (segment - np.repeat(start, n_segments)) * SEGMENT_SECONDS
        touched = onset < np.repeat(events.offset, n_segments)
        touched &= onset + SEGMENT_SECONDS > np.repeat(events.onset, n_segments)
        positive = np.zeros(int(self._n_segments.sum()), bool)
        positive[segment[touched]] = True
        return positive


def class_pauroc(all_segments: np.ndarray, positive: np.ndarray) -> float:
    """Computes the partial AUROC of one class, 0 to 1.

    Args:
        all_segments: int `[n_keys]`, number of segments by their highest key.
        positive: int `[n_keys]`, those touched by an event; at least one.

    Returns:
        The area; NaN for a class that is active in every segment, for which there are
        no false positives to count.
    """
    used = np.flatnonzero(all_segments)[::-1]
    n_positive = np.cumsum(positive[used], dtype=np.int64)
    n_negative = np.cumsum(all_segments[used], dtype=np.int64) - n_positive
    if not n_negative[-1]:
        return math.nan
    true_rate = np.append(0, n_positive) / n_positive[-1]
    false_rate = np.append(0, n_negative) / n_negative[-1]
    kept = false_rate <= MAX_FALSE_POSITIVE_RATE
    widths = np.diff(np.append(false_rate[kept], MAX_FALSE_POSITIVE_RATE))
    return float((true_rate[kept] * widths).sum() / MAX_FALSE_POSITIVE_RATE)
