from types import SimpleNamespace

import numpy as np
import pytest

from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.detected_events import detected_events
from jaxsed.evaluation.hear import hear_events
from jaxsed.evaluation.median import median_filter
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.labels.events import events_from_scores
from tests.test_evaluation.test_hear import N_CLASSES, kit_events, smooth_scores

NAMES = tuple(f"class {c}" for c in range(N_CLASSES))


def events_of(scores, chosen, seconds=20.0):
    borders = np.round(np.arange(len(scores) + 1) * 0.04, 6)
    widths = chosen.median_widths(NAMES, SimpleNamespace(frame_seconds=0.04))
    return detected_events(scores, borders, NAMES, chosen, widths, seconds)


@pytest.mark.parametrize("seed", range(5))
def test_events_with_hears_post_processing_are_the_kits_to_the_bit(seed):
    scores = smooth_scores(np.random.default_rng(seed))
    found = [event[:3] for event in events_of(scores, choose("hear"))]
    assert found and found == kit_events(scores) == hear_events(scores)


def test_runs_of_filtered_frames():
    scores = smooth_scores(np.random.default_rng(0))
    expected = events_from_scores(median_filter(scores, 12), 0.4, duration_seconds=19.9)
    found = events_of(scores, choose("median", threshold=0.4), 19.9)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    widths = {"class 0": 0.0, "class 1": 1.0}
    found = events_of(scores, Postprocessing("class_medians", classes=widths))
    for label, width in enumerate([0, 25, *[12] * (N_CLASSES - 2)]):
        own = events_from_scores(median_filter(scores[:, [label]], width), 0.5)
        found_times = [event[:2] for event in found if event.label == label]
        np.testing.assert_allclose(found_times, [event[:2] for event in own])


def test_boxes_above_the_threshold():
    scores = np.zeros((500, N_CLASSES))
    scores[50:75, 1] = 0.8
    scores[100:125, 0] = 0.4
    chosen = Postprocessing("sebb", classes={"class 1": BoxSettings(0.48)})
    assert np.round(events_of(scores, chosen), 6).tolist() == [[2.0, 3.0, 1, 0.8]]
    chosen = Postprocessing("sebb", threshold=0.3)
    assert [event.label for event in events_of(scores, chosen)] == [1, 0]


def test_nothing_is_no_event():
    for method in ("median", "hear", "sebb"):
        assert events_of(np.zeros((500, N_CLASSES)), choose(method)) == []
