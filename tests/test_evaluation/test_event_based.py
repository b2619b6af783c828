"""Counts and what follows from them, beside sed_eval."""

import math

import numpy as np
import pytest
import sed_eval
from dcase_util.containers import MetaDataContainer

from jaxsed.errors import InputError
from jaxsed.evaluation.event_based import (
    EVENT_BASED,
    ONSET_50_MS,
    ONSET_200_MS,
    ONSET_OFFSET_50_MS_20_PERCENT,
    Collar,
    event_counts,
)
from jaxsed.labels.events import Event

N_CLASSES = 3
LABELS = [f"class {label}" for label in range(N_CLASSES)]
COLLARS = (ONSET_50_MS, ONSET_200_MS, ONSET_OFFSET_50_MS_20_PERCENT, EVENT_BASED)


def random_case(seed):
    """Clips of true events, and detections of which some are near them."""
    rng = np.random.default_rng(seed)
    truth, detected = {}, {}
    for clip in range(rng.integers(1, 4)):
        events = [_event(rng) for _ in range(rng.integers(0, 9))]
        said = [_near(rng, event) for event in events if rng.random() < 0.7]
        said += [_event(rng) for _ in range(rng.integers(0, 4))]
        truth[f"clip {clip}"], detected[f"clip {clip}"] = events, said
    return truth, detected


def _event(rng):
    # On a grid of 10 ms: differences of exactly a collar do occur.
    onset = round(rng.uniform(0, 9), 2)
    return Event(onset, round(onset + rng.uniform(0.02, 3), 2), int(rng.integers(3)))


def _near(rng, event):
    shifts = np.round(rng.choice([0, 0.03, 0.05, 0.1, 0.2, 0.3], 2), 2)
    onset = round(max(0.0, event.onset + rng.choice([-1, 1]) * shifts[0]), 2)
    offset = round(max(onset, event.offset + rng.choice([-1, 1]) * shifts[1]), 2)
    label = event.label if rng.random() < 0.8 else int(rng.integers(3))
    return Event(onset, offset, label)


def container(events):
    return MetaDataContainer(
        [
            {
                "filename": "a",
                "event_label": LABELS[event.label],
                "onset": event.onset,
                "offset": event.offset,
            }
            for event in events
        ]
    )


def oracle(truth, detected, collar, **handling):
    metrics = sed_eval.sound_event.EventBasedMetrics(
        LABELS,
        evaluate_offset=collar.offsets,
        t_collar=collar.seconds,
        percentage_of_length=collar.part_of_length,
        **handling,
    )
    for clip, events in truth.items():
        metrics.evaluate(container(events), container(detected.get(clip, ())))
    return metrics


@pytest.mark.parametrize("seed", range(200))
def test_counts_are_sed_evals(seed):
    truth, detected = random_case(seed)
    for collar in COLLARS:
        counts = event_counts(truth, detected, N_CLASSES, collar)
        metrics = oracle(
            truth, detected, collar, empty_system_output_handling="zero_score"
        )
        for label, name in enumerate(LABELS):
            expected = metrics.class_wise[name]
            assert counts.reference[label] == expected["Nref"]
            assert counts.detected[label] == expected["Nsys"]
            assert counts.correct[label] == expected["Ntp"]
        if counts.reference.sum() and counts.detected.sum():
            overall = metrics.overall_f_measure()["f_measure"]
            assert counts.f_measure() == pytest.approx(overall, abs=1e-9)
        if counts.reference.any():
            average = metrics.results_class_wise_average_metrics()["f_measure"]
            expected = average["f_measure"]
            assert counts.macro_f_measure() == pytest.approx(expected, abs=1e-9)


def test_overlapping_events_of_a_class_are_paired_so_that_most_are_right():
    # Greedily, the first true event would take the detection that the second needs.
    truth = {"a": [Event(1.0, 2, 0), Event(1.3, 2, 0)]}
    detected = {"a": [Event(1.15, 2, 0), Event(0.85, 2, 0)]}
    counts = event_counts(truth, detected, N_CLASSES, ONSET_200_MS)
    assert counts.correct.tolist() == [2, 0, 0]


def test_one_detection_is_right_once():
    truth = {"a": [Event(1.0, 2, 0), Event(1.01, 2, 0)]}
    counts = event_counts(truth, {"a": [Event(1, 2, 0)]}, N_CLASSES, ONSET_50_MS)
    assert counts.f_measure() == pytest.approx(2 / 3)


def test_silence_of_a_detector_is_not_a_gain():
    truth = {"a": [Event(1, 2, 0), Event(3, 4, 1)]}
    counts = event_counts(truth, {"a": [Event(1, 2, 0)]}, N_CLASSES, ONSET_50_MS)
    assert counts.class_f_measures()[:2].tolist() == [1, 0]
    assert math.isnan(counts.class_f_measures()[2])
    assert counts.macro_f_measure() == 0.5
    unheard = oracle(truth, {"a": [Event(1, 2, 0)]}, ONSET_50_MS)
    assert unheard.results_class_wise_average_metrics()["f_measure"]["f_measure"] == 1


def test_nothing_there_and_nothing_detected_has_no_f_measure():
    counts = event_counts({"a": []}, {}, N_CLASSES, ONSET_50_MS)
    assert math.isnan(counts.f_measure()) and math.isnan(counts.macro_f_measure())
    counts = event_counts({"a": []}, {"a": [Event(0, 1, 0)]}, N_CLASSES, Collar(0.1))
    assert counts.f_measure() == 0


def test_detections_without_truth_and_unknown_labels_are_refused():
    with pytest.raises(InputError, match="'b'"):
        event_counts({"a": []}, {"b": []}, N_CLASSES, ONSET_50_MS)
    with pytest.raises(InputError, match="3"):
        event_counts({"a": [Event(0, 1, 3)]}, {}, N_CLASSES, ONSET_50_MS)
