"""A task folder of HEAR from its JSON to its scores, beside HEAR's evaluation kit.

`tests/golden/hear_task.npz` holds the labels and frame scores of a made-up task, and what
hear-eval-kit 2021.1.3 makes of them with sed_eval 0.2.1: the events of
`get_events_for_all_files`, and the measures of `available_scores`. Scores are float16
logits, of which the kit was given the sigmoid in float32 at the centres of the frames. Six
files of 0.84 to 20 s; one without events, one without detections, one with neither; a class
that is never detected, one that never sounds; events of a class that overlap or touch;
scores level with the threshold; detections of a single frame, and up to either end.
"""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from jaxsed.data.records import PreparedData
from jaxsed.evaluation.detected_events import detected_events
from jaxsed.evaluation.hear import hear_events, hear_scores
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.evaluation.probabilities import probabilities
from jaxsed.labels.events import Event, offset_frames
from jaxsed.stages.metrics import frame_metrics, new_store
from tests.test_data.clip_folders import write_sound, write_text
from tests.test_data.event_folders import write_hear
from tests.test_data.test_prepare_command import run as prepare
from tests.test_scoring.test_evaluate_command import run as evaluate

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "hear_task.npz")
FILES, CLASSES = GOLDEN["files"].tolist(), GOLDEN["classes"].tolist()
VOCABULARY = "idx,label\n" + "".join(f"{k},{c}\n" for k, c in enumerate(CLASSES))
IDS = [Path(file).stem for file in FILES]
RATES = GOLDEN["rates"].tolist()  # frames a second; the first is our models'
# HEAR's default, the other one of its grid, and that of MAESTRO 5hr; milliseconds.
SETTINGS = [tuple(of_one) for of_one in GOLDEN["settings_ms"].tolist()]
CASES = list(itertools.product(RATES, SETTINGS))
NAME_OF = {
    "event_onset_200ms_fms": "onset_f1_200ms",
    "event_onset_50ms_fms": "onset_f1_50ms",
    "event_onset_offset_50ms_20perc_fms": "onset_offset_f1_50ms_20perc",
    "segment_1s_er": "segment_1s_er",
}
METRICS = [NAME_OF[measure] for measure in GOLDEN["measures"].tolist()]


def events_of_files(rows):
    """Rows of file, start and end in milliseconds, class -> `{id: sorted events}`."""
    events = {clip: [] for clip in IDS}
    for file, start, end, label in rows.tolist():
        event = Event(start / 1000, end / 1000, int(label))
        events[IDS[int(file)]].append(event)
    return {clip: sorted(of_clip) for clip, of_clip in events.items()}


def kit_events(rate, setting):
    median_ms, min_ms = setting
    return events_of_files(GOLDEN[f"{rate}/{median_ms}/{min_ms}/events"])


def kit_scores(rate, setting):
    median_ms, min_ms = setting
    values = GOLDEN[f"{rate}/{median_ms}/{min_ms}/scores"].tolist()
    return dict(zip(METRICS, values, strict=True))


def postprocessing(setting):
    median_ms, min_ms = setting
    return choose("hear", median_ms / 1000, min_ms / 1000)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The test split of the task, written as HEAR lays it out and prepared."""
    folder = tmp_path_factory.mktemp("hear")
    clips = {file: [] for file in FILES}
    for file, start, end, label in GOLDEN["truth"].tolist():
        name = CLASSES[int(label)]
        # A task whose labels are pitches has them as numbers.
        name = int(name) if name.isdecimal() else name
        clips[FILES[int(file)]].append((name, start, end))
    splits = {"train": {"other.wav": []}, "valid": {"other.wav": []}, "test": clips}
    task = write_hear(folder / "task", splits, vocabulary=VOCABULARY)
    for file, seconds in zip(FILES, GOLDEN["seconds"].tolist()):
        write_sound(task / "48000" / "test" / file, seconds)
    arguments = ("--out", folder / "data", "--workers", 1, "--splits", "eval")
    assert prepare("hear", task, *arguments) == 0
    return PreparedData(folder / "data" / "eval")


@pytest.fixture(scope="module")
def stores(data, tmp_path_factory):
    """`{rate: stored scores}`, in the order of the data."""
    found = {}
    for rate in RATES:
        counts = [round(np.ceil(s * rate)) for s in GOLDEN["seconds"].round(6).tolist()]
        of_file = np.split(GOLDEN[f"{rate}/logits"], np.cumsum(counts)[:-1])
        of_clip = [of_file[IDS.index(clip)] for clip in data.ids]
        folder = tmp_path_factory.mktemp("scores")
        lengths = [len(logits) for logits in of_clip]
        store = new_store(folder, data, data.vocabulary, lengths, 1 / rate)
        for row, logits in enumerate(of_clip):
            store.write([row], logits[None])
        found[rate] = store
    return found


def clip_probabilities(store):
    return {
        clip: probabilities(logits[None], [clip])[0]
        for clip, logits in zip(store.ids, store.logits, strict=True)
    }


def test_the_truth_is_what_the_json_says(data, stores):
    assert data.vocabulary.names == tuple(CLASSES)
    truth = events_of_files(GOLDEN["truth"])
    assert {clip: data.events(row) for row, clip in enumerate(data.ids)} == truth
    frames = offset_frames(data.durations)
    np.testing.assert_array_equal(stores[25].n_frames, frames)


def test_hears_numbers_are_the_default():
    assert choose("hear") == postprocessing(SETTINGS[0])
    assert choose("hear") == Postprocessing("hear", 0.25, 0.125, 0.5)


@pytest.mark.parametrize(("rate", "setting"), CASES)
def test_events_are_the_kits(data, stores, rate, setting):
    store, chosen = stores[rate], postprocessing(setting)
    scores = clip_probabilities(store)
    found = {
        clip: [
            Event(*event[:3])
            for event in detected_events(
                scores[clip],
                store.timestamps(row),
                data.vocabulary.names,
                chosen,
                chosen.median_widths(data.vocabulary.names, store),
                data.durations[row],
            )
        ]
        for row, clip in enumerate(data.ids)
    }
    assert found == kit_events(rate, setting)
    numbers = chosen.median_seconds, chosen.min_seconds, 1 / rate
    assert found == {c: hear_events(s, 0.5, *numbers) for c, s in scores.items()}


@pytest.mark.parametrize(("rate", "setting"), CASES)
def test_scores_of_the_downstream_stage_are_the_kits(data, stores, rate, setting):
    settings = {"postprocess": postprocessing(setting), "keep_empty_clips": True}
    found = frame_metrics(stores[rate], data, METRICS, progress=False, **settings)
    expected = kit_scores(rate, setting)
    assert found == pytest.approx(expected, rel=0, abs=1e-9)
    truth = events_of_files(GOLDEN["truth"])
    of_events = hear_scores(truth, kit_events(rate, setting), len(CLASSES))
    of_events = {NAME_OF[measure]: value for measure, value in of_events.items()}
    assert of_events == pytest.approx(expected, rel=0, abs=1e-9)


def test_the_command_gives_the_same(stores, tmp_path, capsys):
    table = ["filename\tonset\toffset\tevent_label"]
    for file, clip in zip(FILES, IDS):
        events = events_of_files(GOLDEN["truth"])[clip]
        table += [f"{file}\t{e[0]!r}\t{e[1]!r}\t{CLASSES[e.label]}" for e in events]
        table += [] if events else [f"{file}\t\t\t"]
    write_text(tmp_path / "events.tsv", "\n".join(table) + "\n")
    write_text(tmp_path / "labelvocabulary.csv", VOCABULARY)

    def measured(*more):
        status = evaluate(
            stores[25].path,
            f"--events={tmp_path / 'events.tsv'}",
            "--postprocess=hear",
            f"--metrics={','.join(METRICS)}",
            f"--out={tmp_path}",
            *more,
        )
        assert status == 0, capsys.readouterr().err
        summary = json.loads((tmp_path / "summary.json").read_text())["summary"]
        return {name: summary[name] for name in METRICS}

    of_all_classes = f"--classes={tmp_path / 'labelvocabulary.csv'}"
    found = measured(of_all_classes, "--keep-empty-clips")
    assert found == pytest.approx(kit_scores(25, SETTINGS[0]), rel=0, abs=1e-9)
    # The kit counts what is detected in files, and of classes, without events.
    for less in ([of_all_classes], ["--keep-empty-clips"]):
        assert measured(*less)["onset_f1_200ms"] > found["onset_f1_200ms"]
