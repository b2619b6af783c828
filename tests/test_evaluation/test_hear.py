"""HEAR's events and scores, beside the steps that its evaluation kit takes."""

import numpy as np
import pytest
from scipy.ndimage import median_filter

from jaxsed.evaluation.event_based import (
    ONSET_50_MS,
    ONSET_200_MS,
    ONSET_OFFSET_50_MS_20_PERCENT,
)
from jaxsed.evaluation.hear import hear_events, hear_scores
from jaxsed.labels.events import Event
from tests.test_evaluation import test_event_based, test_segment_based

N_CLASSES = test_event_based.N_CLASSES


def kit_events(scores, threshold=0.5, median_ms=250, min_ms=125):
    """The kit's steps one by one: timestamps of frame centres in milliseconds."""
    timestamps = np.arange(len(scores)) * 40.0 + 20.0
    scores = median_filter(scores, size=(round(median_ms / 40), 1))
    events = []
    for label in range(scores.shape[1]):
        active = np.concatenate([[False], scores[:, label] > threshold, [False]])
        edges = np.flatnonzero(np.diff(active.astype(int)))
        for first, stop in zip(edges[::2], edges[1::2]):
            start, end = timestamps[first], timestamps[stop - 1]
            if end - start >= min_ms:
                events.append(Event(start / 1000.0, end / 1000.0, label))
    return sorted(events)


def smooth_scores(rng, n_frames=500):
    steps = np.repeat(rng.random((n_frames // 10, N_CLASSES)), 10, axis=0)
    return np.clip(steps + 0.2 * rng.standard_normal(steps.shape), 0, 1)


@pytest.mark.parametrize("seed", range(10))
def test_events_are_the_kits_to_the_bit(seed):
    scores = smooth_scores(np.random.default_rng(seed))
    events = hear_events(scores)
    assert events and events == kit_events(scores)


def test_an_event_lasts_from_centre_to_centre_and_short_ones_are_left_out():
    scores = np.zeros((100, 1))
    scores[10:15] = 1  # 20 ms into frame 10 to 20 ms into frame 14: 160 ms
    scores[50:54] = 1  # 120 ms
    assert hear_events(scores, median_seconds=0) == [Event(0.42, 0.58, 0)]


@pytest.mark.parametrize("seed", range(10))
def test_scores_are_those_of_sed_eval(seed):
    rng = np.random.default_rng(seed)
    truth = {f"file {k}": kit_events(smooth_scores(rng)) for k in range(3)}
    detected = {
        clip: [
            Event(onset + shift, offset + shift, label)
            for onset, offset, label in events
            for shift in [round(float(rng.choice([0, 0.04, 0.12, 0.4])), 2)]
        ]
        for clip, events in truth.items()
    }
    found = hear_scores(truth, detected, N_CLASSES)
    for name, collar in (
        ("event_onset_200ms_fms", ONSET_200_MS),
        ("event_onset_50ms_fms", ONSET_50_MS),
        ("event_onset_offset_50ms_20perc_fms", ONSET_OFFSET_50_MS_20_PERCENT),
    ):
        metrics = test_event_based.oracle(truth, detected, collar)
        expected = metrics.overall_f_measure()["f_measure"]
        assert found[name] == pytest.approx(expected, abs=1e-9)
    metrics = test_segment_based.oracle(truth, detected, 1.0)
    expected = metrics.overall_error_rate()["error_rate"]
    assert found["segment_1s_er"] == pytest.approx(expected, abs=1e-9)
