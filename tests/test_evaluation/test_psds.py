"""Curves and areas by hand."""

import dataclasses

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import evaluator, psds
from jaxsed.evaluation.psds import DetectionCurve
from jaxsed.labels.events import Event
from tests.test_evaluation import cases

WITHOUT_PENALTY = dataclasses.replace(psds.SCENARIO_1, variance_penalty=0.0)
PERFECT = DetectionCurve(np.array([1.0]), np.array([0.0]))
HALF = DetectionCurve(np.array([0.5]), np.array([0.0]))
LATE = DetectionCurve(np.array([0.0, 1.0]), np.array([0.0, 25.0]))


def test_areas():
    assert psds.class_psds(PERFECT) == 1.0
    assert psds.class_psds(HALF) == 0.5
    assert psds.class_psds(LATE) == pytest.approx(0.75)
    curves = {"0": PERFECT, "1": HALF, "2": LATE}
    assert psds.psds_macro(curves) == pytest.approx(0.75)
    assert psds.psds(curves, WITHOUT_PENALTY) == pytest.approx(0.75)


def test_variance_penalty_is_taken_at_each_false_alarm_rate():
    # Below 25 an hour the two classes have 1 and 0: mean 1/2, deviation 1/2.
    curves = {"0": PERFECT, "1": LATE}
    assert psds.psds(curves) == pytest.approx(0.75)
    assert psds.psds({"0": HALF}) == pytest.approx(0.5)


def class_psds(clips, events, seconds):
    stored = cases.MemoryScores(clips)
    result = evaluator.evaluate(
        stored,
        events,
        stored.vocabulary,
        dict.fromkeys(clips, seconds),
        ["psds1"],
        median_seconds=0,
        keep_empty_clips=True,
    )
    return result.per_class[0]["psds1"]


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (50, 1.0),  # 1.0 to 2.0 s, as the event
        (43, 1.0),  # 0.72 s of one second: more than 70 % found
        (42, 0.0),  # 0.68 s
        (60, 1.0),  # 1.4 s, of which 71 % is event
        (61, 0.0),  # 1.44 s, of which 69 % is event: a false alarm
    ],
)
def test_seventy_percent_of_the_detection_and_of_the_event(stop, expected):
    scores = np.zeros((250, 1))
    scores[25:stop] = 1.0
    clips = {"a": (np.arange(251) / 25, scores)}
    assert class_psds(clips, {"a": [Event(1.0, 2.0, 0)]}, 10.0) == expected


def test_exactly_seventy_percent_is_enough():
    # In floating point 0.7 * 0.4 is above 0.28, the length that the two share.
    scores = np.zeros((250, 1))
    scores[25:35] = 1.0  # 1.0 to 1.4 s
    clips = {"a": (np.arange(251) / 25, scores)}
    assert class_psds(clips, {"a": [Event(1.12, 1.4, 0)]}, 10.0) == 1.0
    assert class_psds(clips, {"a": [Event(1.0, 1.4 / 0.7 - 0.428571, 0)]}, 10.0) == 1.0


def test_false_alarms_cost_by_the_hour():
    # One false alarm that comes before the hit, in 100 clips of 3.6 s: 10 an hour.
    borders = np.arange(91) / 25
    quiet = np.zeros((90, 1))
    loud, hit = quiet.copy(), quiet.copy()
    loud[10:20] = 2.0
    hit[25:50] = 1.0
    clips = {f"{i:02d}": (borders, quiet - 1) for i in range(98)}
    clips |= {"98": (borders, loud), "99": (borders, hit)}
    events = {clip_id: [] for clip_id in clips} | {"99": [Event(1.0, 2.0, 0)]}
    assert class_psds(clips, events, 3.6) == pytest.approx(0.9)


def test_an_event_can_be_lost_again():
    """With a lower threshold its detection grows into a false alarm."""
    scores = np.zeros((250, 1))
    scores[10:200] = 1.0
    scores[25:50] = 2.0
    clips = {"a": (np.arange(251) / 25, scores)}
    # The hit comes first, without a false alarm: the curve stays at 1.
    assert class_psds(clips, {"a": [Event(1.0, 2.0, 0)]}, 10.0) == 1.0
    # Of two events one is found then, and both never at a time.
    events = {"a": [Event(1.0, 2.0, 0), Event(0.4, 0.6, 0)]}
    assert class_psds(clips, events, 10.0) == 0.5


def test_a_scenario_has_both_numbers_of_cross_triggers_or_neither():
    with pytest.raises(InputError, match="give both, or neither"):
        psds.Scenario(0.1, 0.1, cross_trigger_tolerance=0.3)
    with pytest.raises(InputError, match="give both, or neither"):
        psds.Scenario(0.1, 0.1, cross_trigger_weight=0.5)


def psds2_of_a_confusion():
    """Class 0 is found, but before that its detector takes an event of class 1 for it."""
    scores = np.full((250, 2), -1.0)
    scores[25:50] = (2.0, 1.0)  # where class 1 sounds
    scores[100:120, 0] = 1.0
    borders = np.arange(251) / 25
    clips = {"a": (borders, scores), "b": (borders, np.full((250, 2), -1.0))}
    events = {"a": [Event(4.0, 4.8, 0), Event(1.0, 2.0, 1)], "b": []}
    stored = cases.MemoryScores(clips)
    result = evaluator.evaluate(
        stored,
        events,
        stored.vocabulary,
        dict.fromkeys(clips, 360.0),
        ["psds2"],
        median_seconds=0,
        keep_empty_clips=True,
    )
    return result.per_class[0]["psds2"]


def test_cross_triggers_cost_by_the_length_of_the_other_classs_events():
    # One false alarm in 2 x 360 s: 5 an hour. That it is one of 1 s of class 1 costs half
    # of 3600 an hour more, which is beyond the curve.
    assert psds2_of_a_confusion() == 0.0
    plain = dataclasses.replace(
        psds.SCENARIO_2, cross_trigger_tolerance=None, cross_trigger_weight=0.0
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(psds.SCENARIOS, "psds2", plain)
        assert psds2_of_a_confusion() == pytest.approx(0.95)
