"""Segment-based counts and error rate, beside sed_eval."""

import pytest
import sed_eval

from jaxsed.errors import InputError
from jaxsed.evaluation.segment_based import activity, segment_counts
from jaxsed.labels.events import Event
from tests.test_evaluation.test_event_based import (
    LABELS,
    N_CLASSES,
    container,
    random_case,
)


def oracle(truth, detected, segment_seconds):
    metrics = sed_eval.sound_event.SegmentBasedMetrics(LABELS, segment_seconds)
    for clip, events in truth.items():
        metrics.evaluate(container(events), container(detected.get(clip, ())))
    return metrics


@pytest.mark.parametrize("seed", range(100))
def test_counts_and_error_rate_are_sed_evals(seed):
    truth, detected = random_case(seed)
    for segment_seconds in (1.0, 0.1):
        counts, errors = segment_counts(truth, detected, N_CLASSES, segment_seconds)
        metrics = oracle(truth, detected, segment_seconds)
        for label, name in enumerate(LABELS):
            expected = metrics.class_wise[name]
            assert counts.reference[label] == expected["Nref"]
            assert counts.detected[label] == expected["Nsys"]
            assert counts.correct[label] == expected["Ntp"]
        rate = metrics.overall_error_rate()["error_rate"]
        assert errors.rate() == pytest.approx(rate, rel=1e-9)
        if counts.reference.sum() and counts.detected.sum():
            overall = metrics.overall_f_measure()["f_measure"]
            assert counts.f_measure() == pytest.approx(overall, abs=1e-9)


def test_a_class_in_place_of_another_is_one_error():
    truth = {"a": [Event(0, 1, 0), Event(1, 2, 1)]}
    detected = {"a": [Event(0, 1, 1), Event(3, 4, 0)]}
    _, errors = segment_counts(truth, detected, N_CLASSES)
    assert (errors.substitutions, errors.deletions, errors.insertions) == (1, 1, 1)
    assert errors.rate() == pytest.approx(1.5)


def test_an_event_is_active_wherever_it_touches():
    found = activity([Event(0.9, 2.1, 0)], N_CLASSES, 4, 1.0)
    assert found[:, 0].tolist() == [True, True, True, False]


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="-1"):
        segment_counts({"a": []}, {}, N_CLASSES, -1.0)
    with pytest.raises(InputError, match="7"):
        segment_counts({"a": [Event(0, 1, 7)]}, {}, N_CLASSES)
