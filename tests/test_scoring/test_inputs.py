"""Clips and events mean the same, whatever says what is true."""

import json
import shutil

import numpy as np
import pytest

from jaxsed import cli
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.evaluation.score_tables import write_tables
from jaxsed.evaluation.scores import ScoreStore
from tests.test_data.clip_folders import write_sound, write_text
from tests.test_scoring.test_evaluate_command import run

HEADER = "filename\tonset\toffset\tevent_label\n"
EVENTS = (("day1/a", "0.4\t1.2\tbell"), ("day2/a", "1.0\t1.6\tdog"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of recordings in sub-folders, prepared, and scores of all of them."""
    root = tmp_path_factory.mktemp("own")
    rows = [f"recordings/{clip}.wav\t{event}\teval\n" for clip, event in EVENTS]
    rows.append("recordings/day1/b.wav\t0.2\t0.5\tdog\ttrain\n")
    table = HEADER.replace("\n", "\tsplit\n") + "".join(rows)
    write_text(root / "source" / "labels.tsv", table)
    for clip in ("day1/a", "day2/a", "day1/b"):
        write_sound(root / "source" / "recordings" / f"{clip}.wav", 2.0)
    source, out = root / "source", root / "data"
    arguments = ["prepare", "own", str(source), f"--out={out}", "--workers=1"]
    assert cli.main(arguments) == 0
    data = PreparedData(out / "eval")
    assert list(data.ids) == ["day1-a", "day2-a"]
    store = ScoreStore.create(
        root / "store", list(data.ids), data.vocabulary, n_frames=50
    )
    rng = np.random.default_rng(0)
    store.write([0, 1], rng.normal(-2, 2, (2, 50, 2)))
    write_tables(store, root / "flat")
    for clip, _ in EVENTS:  # as `jaxsed detect` leaves them
        flat = root / "flat" / f"{clip.replace('/', '-')}.tsv"
        write_text(root / "tables" / f"{clip}.tsv", flat.read_text())
    write_text(root / "durations.tsv", "day1/a.wav\t2.0\nday2/a.wav\t2.0\n")
    return root


def summary(root, tmp_path, scores, events, *more):
    arguments = [str(root / scores), f"--events={root / events}", f"--out={tmp_path}"]
    metrics = "--metrics=psds1,event_f1,segment_1s_er"
    status = cli.main(["evaluate", *arguments, metrics, *more])
    found = json.loads((tmp_path / "summary.json").read_text())["summary"]
    return status, found


def test_scores_of_recordings_in_sub_folders_meet_their_truth(folder, tmp_path):
    durations = f"--durations={folder / 'durations.tsv'}"
    status, expected = summary(folder, tmp_path, "store", "data/eval")
    assert status == 0 and expected["clips"] == expected["events"] == 2
    assert summary(folder, tmp_path, "tables", "data/eval") == (0, expected)
    # The table has a recording of another split, which there are no scores of.
    for scores in ("store", "tables"):
        status, found = summary(
            folder, tmp_path, scores, "source/labels.tsv", durations
        )
        assert (status, found) == (3, expected)


@pytest.mark.parametrize("scores", ["store", "tables"])
def test_a_folder_that_holds_scores_among_other_things(folder, tmp_path, scores):
    """A training's workdir; what `jaxsed detect --scores` wrote."""
    shutil.copytree(folder / scores, tmp_path / "run" / "scores")
    write_text(tmp_path / "run" / "detections.tsv", HEADER)
    out = tmp_path / "out"
    expected = summary(folder, out, scores, "data/eval")
    assert expected[0] == 0
    assert summary(folder, out, tmp_path / "run", "data/eval") == expected


def test_prepared_data_tune(folder, tmp_path, capsys):
    inputs = [str(folder / "store"), f"--events={folder / 'data' / 'eval'}"]
    out = f"--out={tmp_path / 'tuned.json'}"
    assert cli.main(["tune", *inputs, "--method=class_medians", out]) == 0
    assert "mean of 2 classes" in capsys.readouterr().out


def changed(folder, out, **changes):
    """A copy of the prepared folder with another manifest."""
    shutil.copytree(folder / "data" / "eval", out)
    content = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(content | changes))
    return out


def test_what_prepared_data_lack_is_said(folder, tmp_path, capsys):
    partial = changed(folder, tmp_path / "partial", clips_listed=5)
    assert summary(folder, tmp_path, "store", partial)[0] == 0
    assert "3 of the 5 clips that the data set lists" in capsys.readouterr().out


def test_folders_that_say_no_events_are_refused(folder, tmp_path):
    given = [folder / "store", f"--events={folder / 'data' / 'eval'}"]
    with pytest.raises(InputError, match=r"labels\.tsv: .* has its own classes"):
        run(*given, f"--classes={folder / 'source' / 'labels.tsv'}")
    with pytest.raises(InputError, match=r"folder of a split .*, such as .*data/eval"):
        run(given[0], f"--events={folder / 'data'}")
    weak = changed(folder, tmp_path / "weak", annotation="clips")
    with pytest.raises(InputError, match="labels are of whole clips"):
        run(given[0], f"--events={weak}")


@pytest.mark.parametrize("asked", [".", "scores"])
def test_detections_without_scores_say_how_to_get_some(tmp_path, asked):
    write_text(tmp_path / "a.wav.tsv", HEADER)
    write_text(tmp_path / "journal.jsonl", "")
    with pytest.raises(InputError, match=r"run the same `jaxsed detect` .* --scores"):
        run(tmp_path / asked, "--events", tmp_path / "truth.tsv")
