"""Segments by hand, and scikit-learn's ROC for the whole."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from jaxsed.evaluation import evaluator
from jaxsed.evaluation.keys import NO_SCORE
from jaxsed.evaluation.pauroc import Segments, class_pauroc
from jaxsed.evaluation.strips import Layout
from jaxsed.evaluation.truth import ClassEvents
from jaxsed.labels.events import Event
from tests.test_evaluation import cases


def test_equals_the_roc_of_one_second_segments():
    rng = np.random.default_rng(0)
    borders = np.arange(251) / 25
    clips, events, labels, segment_scores = {}, {}, [], []
    for i in range(8):
        scores = rng.normal(size=(250, 1))
        onset = round(rng.uniform(0, 5), 1)
        events[str(i)] = [Event(onset, onset + 2.25, 0)]
        active = [k < onset + 2.25 and k + 1 > onset for k in range(10)]
        scores[:, 0] += np.repeat(active, 25)
        clips[str(i)] = (borders, scores)
        labels += active
        segment_scores += scores.reshape(10, 25).max(axis=1).tolist()
    stored = cases.MemoryScores(clips)
    result = evaluator.evaluate(
        stored,
        events,
        stored.vocabulary,
        dict.fromkeys(clips, 10.0),
        ["pauroc"],
        median_seconds=0,
    )
    fpr, tpr, _ = roc_curve(labels, segment_scores, drop_intermediate=False)
    # Staircase: the curve keeps its height until the next false positive.
    edges = np.append(np.minimum(fpr, 0.1), 0.1)
    expected = float((np.diff(edges) * tpr).sum() / 0.1)
    assert 0.05 < expected < 0.95
    assert result.summary["pauroc"] == pytest.approx(expected)


def test_segments_take_every_frame_that_reaches_into_them():
    # Frames of 0.4 s: the third and the eighth lie in two segments.
    borders = [np.arange(9) * 0.4, np.arange(3) * 0.4, np.array([1.5, 1.6])]
    segments = Segments(borders, [3.2, 2.0, 2.0])
    np.testing.assert_array_equal(segments.n_segments, [4, 2, 2])
    layout = Layout([8, 2, 1], gap=1)
    strip = np.zeros(layout.size, np.uint16)
    strip[1:9] = [1, 2, 5, 3, 4, 6, 2, 8]
    strip[10:12] = [7, 9]
    strip[13] = 3
    placed = segments.of(np.arange(3), layout)
    # Segments that no frame reaches into are below all scores.
    expected = [5, 5, 8, 8, 9, NO_SCORE, NO_SCORE, 3]
    np.testing.assert_array_equal(placed.highest(strip), expected)
    # An event touches the segments it reaches into, not those it ends or starts at.
    events = ClassEvents(
        np.array([0, 0, 2]), np.array([1.0, 2.9, 0.5]), np.array([2.0, 3.1, 0.6])
    )
    np.testing.assert_array_equal(
        placed.touched(events), [False, True, True, True, False, False, True, False]
    )
    # Some of the clips, in a strip of their own.
    alone = segments.of(np.array([1]), Layout([2], gap=3))
    np.testing.assert_array_equal(alone.highest(np.array([0, 7, 9, 0, 0, 0])), [9, 0])


def test_area_by_hand():
    # From the top: a hit, ten false positives of a hundred, the other hit.
    everything, positive = np.zeros(20, int), np.zeros(20, int)
    everything[[18, 17, 16, 3]] = [1, 5, 5, 91]
    positive[[18, 3]] = 1
    assert class_pauroc(everything, positive) == pytest.approx(0.5)
    # The other hit at the same score as the last five of the ten: a tie counts.
    positive[[16, 3]] = [1, 0]
    everything[[16, 3]] += [1, -1]
    assert class_pauroc(everything, positive) == pytest.approx(0.5)
    positive[[17, 16]] = [1, 0]
    everything[[17, 16]] += [1, -1]
    assert class_pauroc(everything, positive) == pytest.approx(0.75)
    assert math.isnan(class_pauroc(positive, positive))
