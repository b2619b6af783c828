"""Measures of detections from stored scores, beside HEAR's path and by hand."""

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import detection_measures, evaluator
from jaxsed.evaluation.event_based import EVENT_BASED, event_counts
from jaxsed.evaluation.hear import hear_events, hear_scores
from jaxsed.evaluation.probabilities import sigmoid
from jaxsed.evaluation.score_tables import ScoreTables, write_tables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.segment_based import segment_counts
from jaxsed.labels.events import Event
from tests.test_evaluation import cases

HEAR_NAMES = {
    "onset_f1_200ms": "event_onset_200ms_fms",
    "onset_f1_50ms": "event_onset_50ms_fms",
    "onset_offset_f1_50ms_20perc": "event_onset_offset_50ms_20perc_fms",
    "segment_1s_er": "segment_1s_er",
}


@pytest.fixture
def case(tmp_path):
    """A store, its logits, true events: 12 clips, one without, and 4 classes."""
    rng = np.random.default_rng(0)
    events = cases.random_events(rng, 12, 4)
    events["clip009"] = []
    logits = cases.random_logits(rng, events, 4) + 1.5
    logits[:, :, 3] -= 1.0
    store = ScoreStore.create(tmp_path / "s", list(events), cases.vocabulary(4))
    store.write(np.arange(12), logits)
    return ScoreStore(tmp_path / "s"), events


def probabilities(store):
    return {
        clip_id: sigmoid(store.logits[row].astype(np.float64))
        for row, clip_id in enumerate(store.ids)
    }


def evaluate(store, events, metrics, **settings):
    durations = dict.fromkeys(events, 10.0)
    return evaluator.evaluate(
        store,
        events,
        cases.vocabulary(4),
        durations,
        metrics,
        keep_empty_clips=True,
        **settings,
    )


def test_hears_measures_of_a_store_are_those_of_hear(case):
    store, events = case
    detected = {clip: hear_events(s) for clip, s in probabilities(store).items()}
    expected = hear_scores(events, detected, 4)
    found = evaluate(store, events, list(HEAR_NAMES), postprocess="hear").summary
    for name, hears in HEAR_NAMES.items():
        assert found[name] == expected[hears]
    assert 0 < found["onset_f1_50ms"] <= found["onset_f1_200ms"] < 1


def test_dcases_measure_is_the_mean_over_classes(case):
    store, events = case
    detected = {
        clip: hear_events(s, median_seconds=0, min_seconds=0, threshold=0.7)
        for clip, s in probabilities(store).items()
    }
    # From the middle of a frame to that of another: half a frame less at either end.
    detected = {
        clip: [Event(on - 0.02, off + 0.02, label) for on, off, label in found]
        for clip, found in detected.items()
    }
    counts = event_counts(events, detected, 4, EVENT_BASED)
    segments, errors = segment_counts(events, detected, 4)
    metrics = ("segment_1s_f1", "event_f1", "segment_1s_er")
    found = evaluate(store, events, metrics, median_seconds=0, threshold=0.7)
    assert found.summary["event_f1"] == pytest.approx(counts.macro_f_measure())
    assert found.summary["segment_1s_f1"] == pytest.approx(segments.f_measure())
    assert found.summary["segment_1s_er"] == pytest.approx(errors.rate())
    for row, event_f1, segment_f1 in zip(
        found.per_class, counts.class_f_measures(), segments.class_f_measures()
    ):
        assert row["event_f1"] == pytest.approx(event_f1)
        assert row["segment_1s_f1"] == pytest.approx(segment_f1)
        assert "segment_1s_er" not in row
    assert "event_f1" in found.format_table()


def test_tables_of_probabilities_give_what_the_store_gives(case, tmp_path):
    store, events = case
    metrics = ["psds1_macro", *detection_measures.METRICS]
    for settings in ({}, {"postprocess": "hear"}, {"postprocess": "sebb"}):
        expected = evaluate(store, events, metrics, **settings)
        write_tables(store, tmp_path / "probabilities")
        tables = ScoreTables(tmp_path / "probabilities")
        found = evaluate(tables, events, metrics, **settings)
        assert found.summary == pytest.approx(expected.summary)
    write_tables(store, tmp_path / "logits", probabilities=False)
    with pytest.raises(InputError, match="scores of clip 'clip000' are not probab"):
        evaluate(ScoreTables(tmp_path / "logits"), events, metrics)


def test_events_are_counted_as_annotated(tmp_path):
    """Touching events are one for PSDS and two for a measure of onsets."""
    logits = np.full((1, 250, 4), -5.0)
    logits[0, 25:75, 0] = 5.0
    store = ScoreStore.create(tmp_path / "s", ["a"], cases.vocabulary(4))
    store.write([0], logits)
    events = {"a": [Event(1, 2, 0), Event(2, 3, 0)]}
    found = evaluate(store, events, ("psds1", "onset_f1_50ms"), median_seconds=0)
    assert found.summary["psds1"] == 1.0
    assert found.summary["onset_f1_50ms"] == pytest.approx(2 / 3)


def test_detections_of_a_class_without_events_are_wrong(tmp_path):
    logits = np.full((2, 250, 4), -5.0)
    logits[0, 25:75, 0] = 5.0
    logits[1, 25:75, 3] = 5.0
    store = ScoreStore.create(tmp_path / "s", ["a", "b"], cases.vocabulary(4))
    store.write([0, 1], logits)
    events = {"a": [Event(1, 3, 0)], "b": []}
    metrics = ("onset_f1_50ms", "segment_1s_er", "event_f1")
    found = evaluate(store, events, metrics, median_seconds=0).summary
    assert found["onset_f1_50ms"] == pytest.approx(2 / 3)
    assert found["segment_1s_er"] == pytest.approx(1.0)  # 2 insertions for 2 segments
    assert found["event_f1"] == 1.0  # the mean over classes that are there
    nothing = evaluate(store, events, metrics, threshold=0.999).summary
    assert nothing["onset_f1_50ms"] == nothing["event_f1"] == 0.0
    assert nothing["segment_1s_er"] == pytest.approx(1.0)
