"""The whole path from a store to a table against sed_scores_eval called directly."""

import math

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import class_measures, evaluator
from jaxsed.evaluation.result import MissingClips
from jaxsed.evaluation.score_tables import ScoreTables, write_tables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary
from tests.test_evaluation import cases

SUMMARY = ("psds1", "psds1_macro", "pauroc")


def make_store(path, logits, ids, vocabulary, durations=None):
    store = ScoreStore.create(
        path, ids, vocabulary, durations=durations, n_frames=logits.shape[1]
    )
    store.write(np.arange(len(ids)), logits)
    return ScoreStore(path)


def random_case(seed, tmp_path, n_clips=20, n_classes=5):
    rng = np.random.default_rng(seed)
    vocabulary = cases.vocabulary(n_classes)
    events = cases.random_events(rng, n_clips, n_classes)
    logits = cases.random_logits(rng, events, n_classes)
    durations = dict.fromkeys(events, 10.0)
    store = make_store(tmp_path / "store", logits, list(events), vocabulary)
    return store, logits, events, durations, vocabulary


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_library(seed, tmp_path, monkeypatch):
    store, logits, events, durations, vocabulary = random_case(seed, tmp_path)
    # Small chunks, so that classes are put together from several.
    monkeypatch.setattr(class_measures, "_CHUNKS_BYTES", 200_000)
    result = evaluator.evaluate(store, events, vocabulary, durations)
    half = cases.in_a_store(logits, events)
    expected = cases.by_library(half, events, durations)
    assert 0.05 < expected["psds1_macro"] < 0.95
    assert expected["psds1"] > 0.001
    for name in SUMMARY:
        assert result.summary[name] == pytest.approx(expected[name], abs=1e-12)
    for label, row in enumerate(result.per_class):
        assert row["class"] == f"class {label}"
        assert row["psds1"] == pytest.approx(expected["class_psds1"][label], abs=1e-12)
        assert row["pauroc"] == pytest.approx(expected["class_pauroc"][label])
    # Storing float16 costs next to nothing against float64 in memory.
    exact = {clip: (half[clip][0], of_clip) for clip, of_clip in zip(half, logits)}
    exact = cases.by_library(exact, events, durations)
    for name in SUMMARY:
        assert result.summary[name] == pytest.approx(exact[name], abs=2e-3)


def test_score_tables_give_what_the_store_gives(tmp_path):
    store, _, events, durations, vocabulary = random_case(2, tmp_path, 8, 3)
    assert write_tables(store, tmp_path / "tsv", probabilities=False) == 8
    tables = ScoreTables(tmp_path / "tsv")
    from_store = evaluator.evaluate(store, events, vocabulary, durations)
    from_tables = evaluator.evaluate(tables, events, vocabulary, durations)
    assert from_tables.summary == pytest.approx(from_store.summary, abs=1e-12)


def test_chosen_metrics_and_filter(tmp_path):
    store, logits, events, durations, vocabulary = random_case(3, tmp_path, 8, 2)
    result = evaluator.evaluate(
        store, events, vocabulary, durations, ["pauroc"], median_seconds=0.36
    )
    half = cases.in_a_store(logits, events)
    expected = cases.by_library(half, events, durations, width=9)
    assert result.summary["pauroc"] == pytest.approx(expected["pauroc"], abs=1e-12)
    assert "psds1" not in result.summary
    assert "psds1" not in result.per_class[0]
    with pytest.raises(InputError, match="unknown metric 'psds3'; expected some of"):
        evaluator.evaluate(store, events, vocabulary, durations, ["psds3"])


def one_clip(tmp_path, active, events, n_classes=1, durations=None):
    logits = np.full((1, 250, n_classes), -3.0)
    for start, stop, label in active:
        logits[0, start:stop, label] = 3.0
    vocabulary = cases.vocabulary(n_classes)
    store = make_store(tmp_path / "s", logits, ["a"], vocabulary, durations)
    return evaluator.evaluate(store, {"a": events}, vocabulary, median_seconds=0)


def test_perfect_detector_scores_one(tmp_path):
    result = one_clip(
        tmp_path,
        [(25, 75, 0), (100, 150, 1)],
        [Event(1, 3, 0), Event(4, 6, 1)],
        n_classes=2,
    )
    # Nothing varies between the classes, so there is no penalty either.
    assert result.summary["psds1"] == result.summary["psds1_macro"] == 1.0
    assert result.summary["pauroc"] == 1.0


def test_empty_detector_scores_zero(tmp_path):
    # Constant scores: the only detection is the whole clip, which is a false alarm at a
    # rate of 360 an hour.
    result = one_clip(tmp_path, [], [Event(1, 3, 0)])
    assert result.summary["psds1"] == result.summary["psds1_macro"] == 0.0


def test_one_of_two_events_found_scores_one_half(tmp_path):
    result = one_clip(tmp_path, [(25, 75, 0)], [Event(1, 3, 0), Event(5, 7, 0)])
    assert result.summary["psds1_macro"] == pytest.approx(0.5)


def test_variance_penalty_by_hand(tmp_path):
    # Class 0 perfect, class 1 half: mean 0.75, standard deviation 0.25.
    result = one_clip(
        tmp_path,
        [(25, 75, 0), (25, 75, 1)],
        [Event(1, 3, 0), Event(1, 3, 1), Event(5, 7, 1)],
        n_classes=2,
    )
    assert result.summary["psds1_macro"] == pytest.approx(0.75)
    assert result.summary["psds1"] == pytest.approx(0.5)
    assert [row["psds1"] for row in result.per_class] == pytest.approx([1.0, 0.5])


def test_overlapping_events_are_merged(tmp_path):
    result = one_clip(
        tmp_path, [(25, 75, 0)], [Event(1, 2, 0), Event(1.5, 2.5, 0), Event(2.5, 3, 0)]
    )
    assert result.summary["events"] == 1
    assert result.summary["psds1"] == 1.0


def test_classes_are_matched_by_mid_and_the_rest_is_reported(tmp_path):
    rng = np.random.default_rng(4)
    model = cases.vocabulary(4)
    truth = Vocabulary(
        "truth", ("unknown", "renamed", "class 0"), ("/m/99", "/m/2", "/m/0")
    )
    events = {
        "clip0": [Event(1, 3, 1), Event(5, 6, 0)],
        "clip1": [Event(2, 4, 2)],
        "clip2": [Event(2, 4, 0)],  # nothing the model knows
        "clip3": [],
        "clip4": [Event(0, 1, 1)],  # no scores
    }
    in_model = {
        "clip0": [Event(1, 3, 2)],
        "clip1": [Event(2, 4, 0)],
        "clip2": [],
        "clip3": [],
    }
    logits = cases.random_logits(rng, in_model, 4)
    store = make_store(tmp_path / "s", logits, list(in_model), model)
    durations = dict.fromkeys(events, 10.0)
    result = evaluator.evaluate(store, events, truth, durations)
    half = cases.in_a_store(logits, in_model)
    expected = cases.by_library(half, in_model, durations, classes=[0, 2])
    for name in SUMMARY:
        assert result.summary[name] == pytest.approx(expected[name], abs=1e-12)
    assert [row["class"] for row in result.per_class] == ["class 0", "class 2"]
    assert result.summary["clips"] == 2
    notes = "\n".join(result.notes)
    assert "1 classes of the events are unknown to the model" in notes
    assert "(unknown)" in notes
    assert "2 clips without an event of a common class left out (clip2, clip3)" in notes
    assert "1 clips with events have no scores and are not counted (clip4)" in notes
    assert "2 classes of the model have no true event" in notes
    assert result.skipped == 1

    everything = evaluator.evaluate(
        store, events, truth, durations, keep_empty_clips=True
    )
    assert everything.summary["clips"] == 4


def test_rows_that_are_not_written_yet_count_as_missing(tmp_path):
    vocabulary = cases.vocabulary(1)
    store = ScoreStore.create(tmp_path / "s", ["a", "b"], vocabulary)
    logits = np.full((1, 250, 1), -3.0)
    logits[0, 25:75] = 3.0
    store.write([1], logits)
    events = {"a": [Event(1, 3, 0)], "b": [Event(1, 3, 0)]}
    result = evaluator.evaluate(ScoreStore(tmp_path / "s"), events, vocabulary)
    assert result.summary["clips"] == 1
    assert result.summary["psds1"] == 1.0
    assert result.skipped == 2  # a clip without scores; no duration of the other


def test_events_outside_their_clip_are_counted_and_left_out(tmp_path):
    events = [Event(1, 3, 0), Event(6, 7, 0), Event(4, 3, 0), Event(-1, 3, 0)]
    result = one_clip(tmp_path, [(25, 75, 0)], events, durations=[5.0])
    assert result.summary["events"] == 1
    assert result.skipped == 3
    assert "3 events are empty, reversed or outside" in "\n".join(result.notes)
    assert result.summary["psds1"] == 1.0


def test_clip_longer_than_its_scores_has_the_lowest_score_in_the_rest(tmp_path):
    # Logits below zero: the library alone would give uncovered segments score 0, which
    # is above them.
    vocabulary = cases.vocabulary(1)
    logits = np.full((1, 250, 1), -3.0)
    logits[0, 25:50] = -1.0
    store = make_store(tmp_path / "s", logits, ["a"], vocabulary, [14.0])
    result = evaluator.evaluate(
        store, {"a": [Event(1, 2, 0)]}, vocabulary, metrics=["pauroc"], median_seconds=0
    )
    assert result.summary["pauroc"] == 1.0


def test_class_active_everywhere_has_no_pauroc_and_spoils_no_mean(tmp_path):
    result = one_clip(
        tmp_path, [(25, 50, 1)], [Event(0, 10, 0), Event(1, 2, 1)], n_classes=2
    )
    assert math.isnan(result.per_class[0]["pauroc"])
    assert result.summary["pauroc"] == 1.0


def test_what_a_partial_copy_lacks_stands_beside_every_score(tmp_path):
    truth = Vocabulary("truth", ("renamed", "unknown", "class 0"), ("/m/1", "", "/m/0"))
    manifest = {
        "clips": 7,
        "clips_listed": 12,
        "classes": [{"missing": 4}, {"missing": 2}, {"missing": 0}],
    }
    store = make_store(
        tmp_path / "s", np.zeros((1, 250, 2)), ["a"], cases.vocabulary(2)
    )
    events = {"a": [Event(1, 2, 0), Event(1, 2, 2)]}
    result = evaluator.evaluate(
        store,
        events,
        truth,
        {"a": 10.0},
        ["pauroc"],
        missing=MissingClips.from_manifest(manifest),
    )
    assert [row["missing"] for row in result.per_class] == [0, 4]
    header = result.format_table().split("\n\n")[1].splitlines()[0]
    assert header.split() == ["class", "events", "seconds", "missing", "pauroc"]
    (note,) = result.notes
    assert note.startswith("5 of the 12 clips that the data set lists are absent")
    assert result.skipped == 0
    manifest["clips"] = 12
    complete = MissingClips.from_manifest(manifest)
    result = evaluator.evaluate(store, events, truth, {"a": 10.0}, missing=complete)
    assert result.notes == []
    assert "missing" in result.per_class[0]


def test_nothing_to_score_is_refused(tmp_path):
    vocabulary = cases.vocabulary(1)
    store = make_store(tmp_path / "s", np.zeros((1, 250, 1)), ["a_30000"], vocabulary)
    with pytest.raises(InputError, match="like 'Ya', scores like 'a_30000'"):
        evaluator.evaluate(store, {"Ya": [Event(1, 2, 0)]}, vocabulary)
    other = Vocabulary("other", ("something else",), ("/m/x",))
    with pytest.raises(InputError, match="nothing to score"):
        evaluator.evaluate(store, {"a_30000": [Event(1, 2, 0)]}, other)
    with pytest.raises(InputError, match="nothing to score"):
        evaluator.evaluate(store, {}, vocabulary)
    with pytest.raises(InputError, match="duration nan s, expected a positive"):
        evaluator.evaluate(
            store, {"a_30000": [Event(1, 2, 0)]}, vocabulary, {"a_30000": math.nan}
        )


def test_clip_evaluator_averages_over_classes_with_positives(tmp_path):
    rng = np.random.default_rng(5)
    scores = rng.normal(size=(40, 3))
    labels = rng.random((40, 3)) < 0.3
    labels[:, 1] = False
    result = evaluator.evaluate_clips(scores, labels, cases.vocabulary(3))
    rows = result.per_class
    assert [row["class"] for row in rows] == ["class 0", "class 2"]
    assert result.summary["map"] == pytest.approx(np.mean([r["map"] for r in rows]))
    assert result.summary["auc"] == pytest.approx(np.mean([r["auc"] for r in rows]))
    assert "1 classes without a labelled clip not scored (class 1)" in result.notes[0]
    with pytest.raises(InputError, match="no clip has a label"):
        evaluator.evaluate_clips(scores, labels * 0, cases.vocabulary(3))
    with pytest.raises(InputError, match="has 2"):
        evaluator.evaluate_clips(scores, labels, cases.vocabulary(2))


def test_accuracy_is_of_the_clips_that_have_a_label():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.3], [0.9, 0.1]])
    labels = np.array([[0, 1], [0, 1], [1, 0], [0, 0]])
    missing = MissingClips([0, 3], 3, 7)
    result = evaluator.evaluate_clips(
        scores, labels, cases.vocabulary(2), ("accuracy",), missing
    )
    assert result.summary["accuracy"] == pytest.approx(2 / 3)
    assert [row["missing"] for row in result.per_class] == [0, 3]
    assert "1 clips without a label" in result.notes[0]
    assert "3 of the 7 clips" in result.notes[1]


def test_what_lies_behind_10_s_counts(tmp_path):
    """In a store of clips of several lengths, by measures of every kind."""
    events = {
        "a": [Event(2.0, 3.0, 0)],
        "b": [Event(31.0, 33.0, 1), Event(48.0, 50.0, 0)],
    }
    store = ScoreStore.create(
        tmp_path / "s", list(events), cases.vocabulary(2), n_frames=[250, 1250]
    )
    logits = np.full((2, 1250, 2), -5.0)
    for row, of_clip in enumerate(events.values()):
        for onset, offset, label in of_clip:
            logits[row, round(onset * 25) : round(offset * 25), label] = 5.0
    store.write([0], logits[:1, :250])
    store.write([1], logits[1:])
    wanted = {"psds1_macro": 1, "pauroc": 1, "event_f1": 1, "segment_1s_er": 0}
    arguments = store.vocabulary, {"a": 10.0, "b": 50.0}, list(wanted), 0.0
    found = evaluator.evaluate(ScoreStore(tmp_path / "s"), events, *arguments).summary
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    missed = events | {"b": [Event(31.0, 33.0, 1), Event(40.0, 42.0, 0)]}
    found = evaluator.evaluate(store, missed, *arguments).summary
    assert found["event_f1"] < 1 and found["psds1_macro"] < 1
