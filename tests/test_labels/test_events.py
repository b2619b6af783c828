import json
from pathlib import Path

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.labels.events import (
    Event,
    ScoredEvent,
    clip_targets,
    events_from_scores,
    frame_targets,
    merge_overlapping,
    offset_frames,
    onset_frames,
)

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ops.npz")


def golden_events(name):
    return [
        Event(onset, offset, "abcd".index(label))
        for label, onset, offset in json.loads(str(GOLDEN[name]))
    ]


def test_times_on_the_grid_are_on_the_grid():
    frames = np.arange(1, 250)
    assert np.array_equal(onset_frames(frames * 0.04), frames)
    assert np.array_equal(offset_frames(frames * 0.04), frames)
    # Even after a detour through float32, as in files written by others.
    rounded = (frames * 0.04).astype(np.float32)
    assert np.array_equal(onset_frames(rounded), frames)
    assert np.array_equal(offset_frames(rounded), frames)


def test_the_released_code_strays_from_the_grid():
    """What the original does to the same times; the module's docstring quotes it."""
    frames = np.arange(1, 250)
    assert (GOLDEN["grid_end_frame_float32"] == frames + 1).sum() == 118
    assert (GOLDEN["grid_onset_frame_float32"] == frames - 1).sum() == 122
    assert (GOLDEN["grid_onset_frame_float64"] == frames - 1).sum() == 2


def test_frame_targets_are_those_of_the_original():
    events = golden_events("encode_events")
    strayed = events.index(Event(3.2, 3.2400001, 1))
    for i, event in enumerate(events):
        targets = frame_targets([event], 4)
        expected = np.zeros((250, 4), np.uint8)
        expected[:, event.label] = GOLDEN["encode_each"][i]
        if i == strayed:  # 0.1 microseconds over the border: the border, here
            assert expected[80:82, 1].all()
            expected[81, 1] = 0
        assert np.array_equal(targets, expected), event
    together = frame_targets(events, 4)
    assert together.dtype == np.uint8
    assert together.shape == (250, 4)
    assert np.argwhere(together != GOLDEN["encode_all"]).tolist() == [[81, 1]]


def test_the_tolerance_ends_at_a_microsecond():
    assert offset_frames([0.0400009, 0.0400011]).tolist() == [1, 2]
    assert onset_frames([0.0399991, 0.0399989]).tolist() == [1, 0]


def test_frame_targets_cut_what_is_outside():
    events = [Event(-5.0, 0.01, 0), Event(9.99, 1e9, 1), Event(20.0, 30.0, 2)]
    targets = frame_targets(events, 3)
    assert np.argwhere(targets).tolist() == [[0, 0], [249, 1]]
    assert frame_targets([Event(0, np.inf, 0)], 1, n_frames=7).all()
    assert not frame_targets([], 3).any()


def test_clip_targets():
    targets = clip_targets([Event(0, 1, 2), Event(3, 4, 2), Event(0, 1, 0)], 4)
    assert targets.tolist() == [1, 0, 1, 0]
    assert targets.dtype == np.uint8
    assert clip_targets([], 2).tolist() == [0, 0]


@pytest.mark.parametrize("make", [frame_targets, clip_targets])
@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(make, label):
    with pytest.raises(InputError, match=f"event label {label}"):
        make([Event(0, 1, label)], 3)


def test_nan_times_are_refused():
    with pytest.raises(InputError, match="NaN"):
        frame_targets([Event(float("nan"), 1.0, 0)], 1)


def test_merging_is_that_of_the_original():
    merged = merge_overlapping(golden_events("merge_in"))
    assert merged == sorted(golden_events("merge_out"))


def test_merging_touches_within_the_tolerance_and_leaves_classes_apart():
    events = [Event(1.1, 2.2, 0), Event(2.2000005, 3.0, 0), Event(2.0, 2.5, 1)]
    assert merge_overlapping(events) == [Event(1.1, 3.0, 0), Event(2.0, 2.5, 1)]
    assert merge_overlapping([]) == []


def test_events_from_scores_are_those_of_the_original():
    found = events_from_scores(GOLDEN["decode_in"].astype(np.float32), 0.5)
    expected = sorted(golden_events("decode_out"))
    assert [event.label for event in found] == [event.label for event in expected]
    times = [event[:2] for event in found]
    np.testing.assert_allclose(times, [event[:2] for event in expected], atol=1e-9)


def test_events_carry_the_highest_score_of_their_run():
    scores = np.array([[0.6, 0.1], [0.9, 0.7], [0.2, 0.8], [0.7, 0.8]])
    assert events_from_scores(scores, 0.5, frame_seconds=1.0) == [
        ScoredEvent(0.0, 2.0, 0, 0.9),
        ScoredEvent(1.0, 4.0, 1, 0.8),
        ScoredEvent(3.0, 4.0, 0, 0.7),
    ]


def test_events_agree_with_a_plain_loop():
    scores = np.random.default_rng(0).random((60, 5)).astype(np.float16)
    threshold = np.array([0.2, 0.5, 0.9, 0.99, 0.0])
    expected = []
    for label in range(5):
        active = [*(scores[:, label] > threshold[label]), False]
        start = None
        for t, now in enumerate(active):
            if now and start is None:
                start = t
            if not now and start is not None:
                peak = float(scores[start:t, label].max())
                expected.append(ScoredEvent(float(start), float(t), label, peak))
                start = None
    found = events_from_scores(scores, threshold, frame_seconds=1.0)
    assert found == sorted(expected)
    assert len(found) > 20


def test_a_score_equal_to_the_threshold_is_no_event():
    assert events_from_scores(np.full((4, 1), 0.5), 0.5) == []
    assert events_from_scores(np.zeros((0, 3)), 0.5) == []


def test_events_end_with_the_sound():
    scores = np.ones((10, 1))
    scores[8] = 0
    found = events_from_scores(scores, 0.5, duration_seconds=0.3)
    assert found == [ScoredEvent(0.0, 0.3, 0, 1.0)]


def test_round_trip_of_events_and_frames():
    events = [Event(0.04, 1.0, 0), Event(2.0, 10.0, 2), Event(4.0, 4.04, 0)]
    targets = frame_targets(events, 3)
    found = events_from_scores(targets.astype(float), 0.5)
    np.testing.assert_allclose([event[:3] for event in found], events, atol=1e-9)


def test_broken_scores_are_refused():
    with pytest.raises(InputError, match="NaN"):
        events_from_scores(np.full((3, 2), np.nan), 0.5)
    with pytest.raises(InputError, match=r"\[frames, classes\]"):
        events_from_scores(np.zeros(3), 0.5)
