"""Segments by hand, and scikit-learn's ROC for the whole."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from jaxsed.evaluation import pauroc
from jaxsed.evaluation.sed_library import ScoreFrames


def test_equals_the_roc_of_one_second_segments():
    rng = np.random.default_rng(0)
    borders = np.arange(251) / 25
    clips, truth, labels, segment_scores = {}, {}, [], []
    for i in range(8):
        scores = rng.normal(size=(250, 1))
        onset = round(rng.uniform(0, 5), 1)
        truth[str(i)] = [(onset, onset + 2.25, "0")]
        active = [k < onset + 2.25 and k + 1 > onset for k in range(10)]
        scores[:, 0] += np.repeat(active, 25)
        clips[str(i)] = (borders, scores)
        labels += active
        segment_scores += scores.reshape(10, 25).max(axis=1).tolist()
    durations = dict.fromkeys(clips, 10.0)
    values = pauroc.class_pauroc(ScoreFrames(clips, ["0"]), truth, durations)
    fpr, tpr, _ = roc_curve(labels, segment_scores, drop_intermediate=False)
    # Staircase: the curve keeps its height until the next false positive.
    edges = np.append(np.minimum(fpr, 0.1), 0.1)
    expected = float((np.diff(edges) * tpr).sum() / 0.1)
    assert 0.05 < expected < 0.95
    assert values == {"0": pytest.approx(expected)}


def test_cover_reaches_the_last_segment_and_leaves_covered_clips_alone():
    borders = np.arange(251) / 25
    scores = np.zeros((250, 2))
    for duration in (9.0, 10.0):
        same_borders, same_scores = pauroc.cover(borders, scores, duration)
        assert same_borders is borders
        assert same_scores is scores
    longer_borders, longer_scores = pauroc.cover(borders, scores, 10.3)
    assert longer_borders[-1] == 11.0
    assert np.isneginf(longer_scores[-1]).all()
    assert longer_scores.shape == (251, 2)
