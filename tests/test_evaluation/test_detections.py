"""All detections of all thresholds, against looking at every threshold."""

import numpy as np
import pytest

from jaxsed.evaluation.detections import all_detections, count_changes
from jaxsed.evaluation.keys import NO_SCORE, from_the_top

N_KEYS = 9


def strips():
    """Strips of one to four clips: rising, falling, zigzag, flat, empty, random."""
    gap = [NO_SCORE]
    shapes = [
        [1, 2, 3, 4],
        [4, 3, 2, 1],
        [5, 1, 6, 2, 7, 3, 8, 4],
        [8, 7, 8, 6, 8, 5, 8, 4],
        [3, 3, 3],
        [2, 4, 4, 2, 4, 2],
        [NO_SCORE] * 3,
    ]
    found = [gap + shape + gap for shape in shapes]
    rng = np.random.default_rng(0)
    for _ in range(40):
        clips = [rng.integers(0, N_KEYS, rng.integers(1, 25)) for _ in range(4)]
        found.append(np.concatenate([gap, *(np.append(c, gap * 2) for c in clips)]))
    return [np.array(strip, np.uint16) for strip in found]


def at_threshold(strip, threshold):
    """Runs of frames that reach the threshold: `{(first, stop)}`."""
    on = np.concatenate([[0], strip >= threshold, [0]])
    edges = np.flatnonzero(np.diff(on))
    return set(zip(edges[::2].tolist(), edges[1::2].tolist()))


@pytest.mark.parametrize("strip", strips())
def test_at_every_threshold(strip):
    found = all_detections(strip)
    changes = np.zeros(N_KEYS, int)
    count_changes(strip, changes)
    numbers = from_the_top(changes)
    for threshold in range(1, N_KEYS):
        there = (found.grown < threshold) & (threshold <= found.highest)
        spans = zip(found.first[there].tolist(), found.stop[there].tolist())
        expected = at_threshold(strip, threshold)
        assert sorted(spans) == sorted(expected)  # and none twice
        assert numbers[threshold] == len(expected)
