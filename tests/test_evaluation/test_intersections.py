"""Cross triggers against sed_scores_eval, at every threshold, and what is kept for them."""

import dataclasses

import numpy as np
import pytest

from jaxsed.evaluation import class_measures, evaluator, intersections, psds, scores
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.tallies import FrameTally
from jaxsed.labels.events import Event
from tests.test_evaluation import cases
from tests.test_evaluation.test_class_measures import (
    KINDS,
    N_CLASSES,
    borders_of,
    events_of,
    scores_of,
)

SCENARIOS = (
    psds.SCENARIO_2,
    psds.Scenario(0.5, 0.3, 0.1, 1.0, 0.0),
    psds.Scenario(0.3, 0.5, 0.9, 0.05, 0.5, max_false_alarms_per_hour=20.0),
)


def check(stored, clips, events, durations, width, scenario, patch):
    """Compares with the library; returns whether anything was found."""
    patch.setitem(psds.SCENARIOS, "psds2", scenario)
    result = evaluator.evaluate(
        stored,
        events,
        stored.vocabulary,
        durations,
        ["psds2", "psds2_macro"],
        median_seconds=width * stored.frame_seconds,
        keep_empty_clips=True,
    )
    try:
        value, of_classes = cases.psds_by_library(
            clips, events, durations, width, scenario
        )
    except IndexError:  # the library's, where a class has the same counts throughout
        assert min(row["psds2"] for row in result.per_class) == 0
        return False
    assert result.summary["psds2"] == pytest.approx(value, abs=1e-9)
    for row, expected in zip(result.per_class, of_classes, strict=True):
        assert row["psds2"] == pytest.approx(expected, abs=1e-9)
    assert result.summary["psds2_macro"] == pytest.approx(np.mean(of_classes))
    return value > 0


@pytest.mark.parametrize("kind", KINDS)
def test_store_equals_the_library(kind, tmp_path, monkeypatch):
    # Several blocks of clips and, with most classes, several chunks; pairs in portions.
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 150)
    monkeypatch.setattr(class_measures, "_CHUNKS_BYTES", 1_000_000)
    monkeypatch.setattr(intersections, "_PAIRS_AT_A_TIME", 7)
    n_found = 0
    for seed in range(9):
        rng = np.random.default_rng([200 + seed, KINDS.index(kind)])
        n_clips, n_frames = int(rng.integers(1, 10)), int(rng.integers(5, 60))
        width = min(int(rng.choice([0, 1, 2, 9])), n_frames)
        seconds = round(n_frames * 0.04 * rng.choice([0.6, 1, 1.7]), 3)
        events = events_of(rng, n_clips, seconds, 0.02)
        # Longer clips let more false alarms happen: 100 an hour is one in 36 s.
        seconds = round(seconds * rng.choice([20, 100, 1000]), 3)
        values = np.stack([scores_of(rng, kind, n_frames) for _ in events])
        store = ScoreStore.create(
            tmp_path / str(seed),
            list(events),
            cases.vocabulary(N_CLASSES),
            n_frames=n_frames,
        )
        store.write(np.arange(n_clips), values)
        durations = dict.fromkeys(events, seconds)
        clips = cases.in_a_store(values, events)
        scenario = SCENARIOS[seed % 3]
        n_found += check(store, clips, events, durations, width, scenario, monkeypatch)
    assert kind == "constant" or n_found


@pytest.mark.parametrize("kind", KINDS[:3])
def test_clips_of_any_length_and_frames_equal_the_library(kind, monkeypatch):
    for seed in range(6):
        rng = np.random.default_rng([300 + seed, KINDS.index(kind)])
        clips, durations = {}, {}
        events = events_of(rng, int(rng.integers(1, 8)), 3.0, 0.05)
        for clip_id in events:
            n_frames = int(rng.integers(5, 60))
            borders = borders_of(rng, n_frames, regular=seed % 2)
            clips[clip_id] = borders, scores_of(rng, kind, n_frames) / 3
            durations[clip_id] = round(float(rng.uniform(3, 400)), 3)
        stored = cases.MemoryScores(clips)
        stored.frame_seconds = 0.04
        check(stored, clips, events, durations, 5, SCENARIOS[seed % 3], monkeypatch)


def test_a_single_class_has_no_cross_triggers(monkeypatch):
    rng = np.random.default_rng(0)
    borders = np.arange(101) / 25
    clips = {k: (borders, rng.normal(size=(100, 1)).cumsum(axis=0)) for k in "abc"}
    events = {"a": [Event(1, 2, 0)], "b": [], "c": [Event(0.2, 3, 0)]}
    stored, durations = cases.MemoryScores(clips), dict.fromkeys("abc", 300.0)
    arguments = stored, events, stored.vocabulary, durations, ["psds2"], 0
    found = evaluator.evaluate(*arguments, keep_empty_clips=True)
    plain = dataclasses.replace(
        psds.SCENARIO_2, cross_trigger_tolerance=None, cross_trigger_weight=0.0
    )
    monkeypatch.setitem(psds.SCENARIOS, "psds2", plain)
    expected = evaluator.evaluate(*arguments, keep_empty_clips=True)
    assert found.summary["psds2"] == expected.summary["psds2"] > 0


def test_clips_in_which_nothing_counts_are_not_kept(tmp_path, monkeypatch):
    """What is kept of a large set are about as many clips as there may be false alarms."""
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 250 * 20)
    n_clips = 1000  # 10,000 s: 277 false alarms
    rng = np.random.default_rng(0)
    store = ScoreStore.create(
        tmp_path / "s",
        [f"clip{k}" for k in range(n_clips)],
        cases.vocabulary(2),
        durations=np.full(n_clips, 10.0),
    )
    store.write(np.arange(n_clips), rng.normal(size=(n_clips, 250, 2)))
    events = {clip: [Event(1, 2, k % 2)] for k, clip in enumerate(store.ids)}
    kept = []
    measures = FrameTally.measures

    def counted(tally):
        kept.append(sum(map(len, tally._silent_clips)))
        return measures(tally)

    monkeypatch.setattr(FrameTally, "measures", counted)
    evaluator.evaluate(store, events, store.vocabulary, metrics=["psds2"])
    assert len(kept) == 2 and max(kept) < 450
