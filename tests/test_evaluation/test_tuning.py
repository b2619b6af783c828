"""Settings of each class, and `jaxsed tune` to `jaxsed evaluate` end to end."""

import json

import numpy as np
import pytest

from jaxsed import cli
from jaxsed.errors import InputError
from jaxsed.evaluation import evaluator, postprocess, tuning
from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event
from tests.test_evaluation import cases


@pytest.fixture
def case(tmp_path):
    """Class 0 has short events, class 1 long ones with holes in their scores."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-4, 0.5, (12, 250, 3))
    events = {}
    for clip in range(12):
        short, long = int(rng.integers(5, 240)), int(rng.integers(5, 100))
        logits[clip, short : short + 5, 0] = 4.0
        logits[clip, long : long + 120, 1][np.arange(120) % 40 < 26] = 4.0
        events[f"clip{clip:02d}"] = [
            Event(short / 25, short / 25 + 0.2, 0),
            Event(long / 25, long / 25 + 4.8, 1),
        ]
    store = ScoreStore.create(
        tmp_path / "store", list(events), cases.vocabulary(3), durations=[10.0] * 12
    )
    store.write(np.arange(12), logits)
    rows = [
        f"{clip}\t{onset}\t{offset}\tclass {label}\n"
        for clip, of_clip in events.items()
        for onset, offset, label in of_clip
    ]
    table = tmp_path / "events.tsv"
    table.write_text("filename\tonset\toffset\tevent_label\n" + "".join(rows))
    return ScoreStore(tmp_path / "store"), events, tmp_path


def test_every_class_gets_the_width_that_suits_it(case):
    store, events, _ = case
    vocabulary = cases.vocabulary(3)
    tuned = tuning.tune("class_medians", store, events, vocabulary, progress=False)
    widths = tuned.postprocessing.classes
    assert widths["class 0"] <= 0.32 and widths["class 1"] >= 0.72
    assert "class 2" not in widths  # without an event nothing can be tuned
    assert min(tuned.best.values()) == 1.0 and max(tuned.first.values()) < 1
    found = evaluator.evaluate(
        store, events, vocabulary, postprocess=tuned.postprocessing
    )
    assert {row["class"]: row["psds1"] for row in found.per_class} == tuned.best


def test_no_class_gets_worse_and_ties_keep_the_first(case):
    store, events, _ = case
    vocabulary = cases.vocabulary(3)
    for method, metric in (("sebb", "event_f1"), ("class_medians", "psds2")):
        tuned = tuning.tune(method, store, events, vocabulary, None, metric)
        for name, value in tuned.best.items():
            assert value >= tuned.first[name]
    silent = {clip: [Event(9.9, 10.0, 2)] for clip in events}
    tuned = tuning.tune("class_medians", store, silent, vocabulary)
    assert tuned.postprocessing.classes == {"class 2": tuning.MEDIAN_SECONDS[0]}


def test_boxes_are_tuned_like_the_packages():
    assert len(tuning.BOXES) == 18
    assert BoxSettings(0.48, 0.2, float("inf")) in tuning.BOXES
    assert BoxSettings(0.64, float("inf"), 3.0) in tuning.BOXES


def test_what_there_is_none_of(case):
    store, events, _ = case
    for arguments, message in (
        (("median",), "unknown method 'median'"),
        (("sebb", "pauroc"), "unknown metric 'pauroc'"),
    ):
        method, *metric = arguments
        with pytest.raises(InputError, match=message):
            tuning.tune(method, store, events, cases.vocabulary(3), None, *metric)


@pytest.mark.parametrize("method", ["class_medians", "sebb"])
def test_from_tuning_to_evaluation(case, capsys, method):
    _, _, path = case
    inputs = [str(path / "store"), f"--events={path / 'events.tsv'}"]
    model = path / "model"
    model.mkdir()
    assert cli.main(["tune", *inputs, f"--method={method}", f"--out={model}"]) == 0
    printed = capsys.readouterr().out
    assert "mean of 2 classes" in printed and "postprocess.json" in printed
    written = json.loads((model / postprocess.FILE_NAME).read_text())
    assert written["method"] == method and set(written["classes"]) == {
        "class 0",
        "class 1",
    }
    out = f"--out={path / 'out'}"
    asked = "--metrics=psds1,psds2,pauroc,event_f1"
    status = cli.main(
        ["evaluate", *inputs, f"--postprocess={model}", asked, "--threshold=0.4", out]
    )
    assert status == 0
    value = json.loads((path / "out" / "summary.json").read_text())
    assert list(value["summary"])[:4] == ["psds1", "psds2", "pauroc", "event_f1"]
    noted = [note for note in value["notes"] if "not of bounding boxes" in note]
    assert bool(noted) == (method == "sebb")
    rows = (path / "out" / "per_class.tsv").read_text().splitlines()
    assert rows[0].split("\t")[-4:] == ["psds1", "psds2", "pauroc", "event_f1"]


def test_clips_without_scores_are_told_when_tuning(case, capsys):
    _, _, path = case
    with open(path / "events.tsv", "a") as file:
        file.write("lost.wav\t1\t2\tclass 0\n")
    arguments = [str(path / "store"), f"--events={path / 'events.tsv'}"]
    arguments += ["--method=class_medians", f"--out={path / 'tuned.json'}"]
    assert cli.main(["tune", *arguments]) == 3
    assert "have no scores and are not counted (lost)" in capsys.readouterr().out


def test_commands_refuse_in_one_line(case, capsys):
    _, _, path = case
    inputs = [str(path / "store"), f"--events={path / 'events.tsv'}"]
    for arguments, message in (
        (["tune", *inputs, "--method=x", f"--out={path}"], "unknown method 'x'"),
        (["tune", *inputs, "--method=sebb", f"--out={path}/a/b"], "there is no folder"),
        (["evaluate", *inputs, "--postprocess=x"], "unknown postprocess"),
        (["evaluate", *inputs, "--threshold=2"], "threshold=2.0"),
        (["evaluate", *inputs, "--metrics=psds3"], "unknown metric 'psds3'"),
    ):
        assert cli.main(arguments) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
