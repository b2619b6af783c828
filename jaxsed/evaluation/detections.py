"""The detections of a class at every threshold at once.

At a threshold, the detections of a clip are its longest runs of frames whose scores
reach it. While the threshold falls, a detection appears at a peak, grows, and merges with
its neighbour at a valley: over all thresholds a clip has no more different detections
than frames.

Clips lie one after the other in a *strip* of keys (`jaxsed.evaluation.keys`), with
frames without a score in between, before the first and after the last.
"""

from typing import NamedTuple

import numpy as np

from jaxsed.evaluation.keys import NO_SCORE, add_counts


class Detections(NamedTuple):
    """Every different detection of a strip, int64 `[d]` each.

    Attributes:
        first: position of its first frame.
        stop: position after its last frame.
        highest: key of the highest threshold at which it is there.
        grown: key at which it is there no longer, being part of a longer one;
            `NO_SCORE` where that never happens.
    """

    first: np.ndarray
    stop: np.ndarray
    highest: np.ndarray
    grown: np.ndarray


def count_changes(strip: np.ndarray, changes: np.ndarray) -> None:
    """Counts by how much the number of detections grows when a threshold is passed.

    One more at every peak, one less at every valley; a plateau counts by its first
    frame where the scores rise to it and by its last where they rise from it.

    Args:
        strip: keys `[n]`.
        changes: int `[n_keys]`, added to. What is counted for `NO_SCORE` has no meaning.
    """
    rises = strip[1:] > strip[:-1]
    turns = strip[np.flatnonzero(rises[1:] != rises[:-1]) + 1]
    first_peak = 0 if rises[0] else 1  # peaks and valleys alternate
    add_counts(changes, turns[first_peak::2])
    add_counts(changes, turns[1 - first_peak :: 2], -1)


def all_detections(strip: np.ndarray) -> Detections:
    """Finds the detections of all thresholds.

    Each is a run of equal scores, together with all runs around it that are as high or
    higher: from the nearest lower run on its left to the nearest lower run on its right.

    Args:
        strip: keys `[n]`.
    """
    position = np.append(0, np.flatnonzero(strip[1:] != strip[:-1]) + 1)
    run = strip[position].astype(np.int64)
    left = _nearest(run, np.greater)  # lower, or equal
    right = len(run) - 1 - _nearest(run[::-1], np.greater_equal)[::-1]
    # Runs of one height without a lower one in between belong to one detection.
    whole = np.flatnonzero((run != NO_SCORE) & (run[left] < run))
    left, right = left[whole], right[whole]
    return Detections(
        position[left + 1],
        position[right],
        run[whole],
        np.maximum(run[left], run[right]),
    )


def _nearest(run: np.ndarray, is_passed: np.ufunc) -> np.ndarray:
    """Finds, for every run, the nearest one before it that it does not pass over.

    All runs search at a time: one that has to go on goes where the run that it passes
    over has come to by then.

    Args:
        run: heights; the first is `NO_SCORE`.
        is_passed: `(height on the way, own height) -> bool`.

    Returns:
        int64 indices; those of runs of height `NO_SCORE` have no meaning.
    """
    found = np.maximum(np.arange(len(run)) - 1, 0)
    searching = np.flatnonzero(run != NO_SCORE)
    while searching.size:
        passed = is_passed(run[found[searching]], run[searching])
        searching = searching[passed]
        found[searching] = found[found[searching]]
    return found
