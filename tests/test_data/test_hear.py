import json

import pytest

from jaxsed.data.examples import Examples, ExampleShape
from jaxsed.data.layouts import hear as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event

from .clip_folders import write_sound, write_text
from .event_folders import write_hear
from .test_prepare_command import run

SPLITS = {
    "train": {"a.wav": [("dog", 100.0, 300.0), ("bell", 0, 50)], "b.wav": []},
    "valid": {"c.wav": [("bell", 12.5, 400.0)]},
    "test": {"a.wav": [("dog", 0.0, 90.0)]},
}


def test_a_task_with_three_splits(tmp_path):
    task = write_hear(tmp_path / "tiny-hear2021-full", SPLITS, sample_duration=0.4)
    assert layout.available_splits(task) == ["train", "validation", "eval"]
    assert run("hear", task, "--out", tmp_path / "out", "--workers", 1) == 0
    train, validation, evaluation = (
        PreparedData(tmp_path / "out" / split) for split in layout.SPLITS
    )
    assert list(train.ids) == ["a", "b"]  # b is kept: nothing sounds in it
    assert train.events(0) == [Event(0.0, 0.05, 1), Event(0.1, 0.3, 0)]
    assert train.events(1) == []
    assert validation.events(0) == [Event(0.0125, 0.4, 1)]
    assert evaluation.events(0) == [Event(0.0, 0.09, 0)]
    assert train.vocabulary.names == ("dog", "bell")  # in the order of the task
    assert train.vocabulary.hash == evaluation.vocabulary.hash
    assert train.vocabulary.name == "tiny_2"
    assert train.manifest["annotation"] == "frames"


def test_events_of_a_class_are_kept_as_annotated(tmp_path):
    notes = [("dog", 0, 100), ("dog", 100, 200), ("dog", 150, 300), ("dog", 0, 100)]
    write_hear(tmp_path, {"train": {"a.wav": notes}})
    manifest = prepare(layout.read(tmp_path, "train"), tmp_path / "out")
    assert manifest["problems"] == {"duplicate": 1}
    events = [Event(0.0, 0.1, 0), Event(0.1, 0.2, 0), Event(0.15, 0.3, 0)]
    assert PreparedData(tmp_path / "out").events(0) == events


def test_folds_are_splits_and_pitches_are_labels(tmp_path):
    folds = {f"fold0{k}": {f"{k}.wav": [(60 + k % 2, 0, 100)]} for k in range(5)}
    write_hear(tmp_path, folds, vocabulary="label,idx\n61,1\n60,0\n")
    write_text(tmp_path / "fold_notes.json", "{}")
    assert layout.available_splits(tmp_path) == list(folds)
    out = tmp_path / "out"
    arguments = ("hear", tmp_path, "--out", out, "--workers", 1, "--splits")
    assert run(*arguments, "fold01,fold04") == 0
    assert sorted(path.name for path in out.iterdir()) == ["fold01", "fold04"]
    assert PreparedData(out / "fold01").events(0) == [Event(0.0, 0.1, 1)]
    with pytest.raises(
        InputError, match="'fold07'; expected some of train,validation,eval,fold00"
    ):
        run(*arguments, "fold07")


def test_the_highest_rate_of_the_split_is_used(tmp_path):
    write_hear(tmp_path, SPLITS, rate=16000)
    write_sound(tmp_path / "48000" / "train" / "a.wav", 0.4)
    clips = layout.read(tmp_path, "train").clips
    assert [clip.audio and clip.audio.name for clip in clips] == [
        "48000/train/a.wav",
        None,
    ]
    (clip,) = layout.read(tmp_path, "eval").clips
    assert clip.audio.name == "16000/test/a.wav"


def test_what_is_wrong_is_counted(tmp_path):
    rows = [("dogg", 0, 100), ("dog", 300, 200), ("dog", 200, 9000), ("dog", "0", 1)]
    files = {"a.wav": rows, "b.wav": [("dog", -100, 100)], "gone.wav": []}
    write_hear(tmp_path, {"train": files})
    (tmp_path / "48000" / "train" / "gone.wav").unlink()
    manifest = prepare(layout.read(tmp_path, "train"), tmp_path / "out")
    assert manifest["problems"] == {
        "missing": 1,
        "unreadable_line": 1,
        "unknown_label": 1,
        "reversed": 1,
        "negative_time": 1,
        "outside_clip": 1,
    }
    problems = (tmp_path / "out" / "problems.tsv").read_text()
    assert "did you mean 'dog'?" in problems
    assert (
        'train.json, a.wav: {"label": "dog", "start": "0", "end": 1} lacks' in problems
    )
    data = PreparedData(tmp_path / "out")
    assert data.events(0) == [Event(0.2, 0.4, 0)]
    assert data.events(1) == [Event(0.0, 0.1, 0)]


def test_a_file_whose_events_are_no_list(tmp_path):
    write_hear(tmp_path, SPLITS)
    write_text(tmp_path / "train.json", json.dumps({"a.wav": "dog", "b.wav": []}))
    source = layout.read(tmp_path, "train")
    (problem,) = source.problems
    assert problem.detail == "train.json, a.wav: not a list of events"
    assert [len(clip.events) for clip in source.clips] == [0, 1]  # only b is silent


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("train.json", "{}", "train.json is empty: no clip of train"),
        ("train.json", '{"a.wav": [\n}', "train.json is not JSON: .*line 2"),
        ("train.json", "[]", "expected an object"),
        ("train.json", b"\xff", "train.json is not JSON"),
        ("labelvocabulary.csv", "idx,label\n0,dog\n2,bell\n", "idx must be 0 to 1"),
        (
            "labelvocabulary.csv",
            "idx,label\n0,dog\nx,bell\n",
            "line 3: expected an idx",
        ),
        (
            "labelvocabulary.csv",
            "idx,label\n0,dog\n0,bell\n",
            "line 3: expected an idx",
        ),
        ("labelvocabulary.csv", "idx,label\n0,dog\n1,dog\n", "'dog' twice"),
        ("labelvocabulary.csv", "idx,label\n", "has no classes"),
        (
            "task_metadata.json",
            '{"embedding_type": "scene"}',
            "is 'scene'; layout hear",
        ),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, text, message):
    write_hear(tmp_path, SPLITS)
    write_text(tmp_path / name, text)
    with pytest.raises(InputError, match=message):
        layout.read(tmp_path, "train")


def test_what_is_no_task(tmp_path):
    with pytest.raises(
        InputError, match="holds nothing of layout hear; expected task_"
    ):
        run("hear", tmp_path, "--out", tmp_path / "out")
    write_hear(tmp_path, SPLITS)
    with pytest.raises(InputError, match=r"fold00\.json cannot be read"):
        layout.read(tmp_path, "fold00")


def test_a_fold_without_any_event(tmp_path):
    write_hear(tmp_path, {"fold00": {"a.wav": [], "b.wav": []}})
    manifest = prepare(layout.read(tmp_path, "fold00"), tmp_path / "out")
    data = PreparedData(tmp_path / "out")
    assert (manifest["clips"], manifest["problems"]) == (2, {})
    assert [data.events(0), data.events(1)] == [[], []]
    assert data.activity().class_seconds().tolist() == [0.0, 0.0]
    example = Examples(data, ExampleShape(0.4, 16000, 10, "frames")).cut(0)
    assert example["labels"].shape == (10, 2) and not example["labels"].any()
