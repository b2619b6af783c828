"""`jaxsed evaluate` end to end on small folders."""

import argparse
import csv
import json

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation.postprocess import Postprocessing, write
from jaxsed.evaluation.score_tables import write_tables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.scoring import evaluate_command
from tests.test_evaluation import cases


def run(*argv):
    parser = argparse.ArgumentParser()
    evaluate_command.configure(parser)
    return evaluate_command.run(parser.parse_args([str(a) for a in argv]))


@pytest.fixture
def folder(tmp_path):
    """A store, a folder of TSVs of the same scores, events, durations, class list."""
    rng = np.random.default_rng(0)
    events = cases.random_events(rng, 8, 3)
    logits = cases.random_logits(rng, events, 3).astype(np.float16)
    vocabulary = cases.vocabulary(3)
    store = ScoreStore.create(tmp_path / "store", list(events), vocabulary)
    store.write(np.arange(8), logits)
    write_tables(store, tmp_path / "tables")
    rows = ["segment_id\tstart_time_seconds\tend_time_seconds\tlabel"]
    for clip_id, clip_events in events.items():
        for onset, offset, label in clip_events:
            rows.append(f"{clip_id}\t{onset}\t{offset}\t/m/{label}")
    (tmp_path / "events.tsv").write_text("\n".join(rows) + "\n")
    durations = "".join(f"{clip_id},10.0\n" for clip_id in events)
    (tmp_path / "durations.csv").write_text("filename,duration\n" + durations)
    (tmp_path / "classes.tsv").write_text(
        "".join(f"/m/{i}\tclass {i}\n" for i in range(4))
    )
    expected = cases.by_library(
        cases.in_a_store(logits, events), events, dict.fromkeys(events, 10.0)
    )
    return tmp_path, expected


@pytest.mark.parametrize("scores", ["store", "tables"])
def test_end_to_end(folder, capsys, scores):
    path, expected = folder
    status = run(
        path / scores,
        f"--events={path / 'events.tsv'}",
        f"--durations={path / 'durations.csv'}",
        f"--classes={path / 'classes.tsv'}",
        f"--out={path / 'out'}",
    )
    assert status == 0
    summary = json.loads((path / "out" / "summary.json").read_text())["summary"]
    for name in ("psds1", "psds1_macro", "pauroc"):
        assert summary[name] == pytest.approx(expected[name], abs=1e-9)
    with open(path / "out" / "per_class.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["class"] for row in rows] == ["class 0", "class 1", "class 2"]
    for label, row in enumerate(rows):
        assert float(row["psds1"]) == pytest.approx(expected["class_psds1"][label])
    assert (path / "out" / "problems.txt").read_text() == ""
    printed = capsys.readouterr().out
    assert f"psds1_macro  {expected['psds1_macro']:.4f}" in printed
    assert "class 2" in printed


def test_what_is_wrong_is_told_and_the_rest_evaluated(folder, capsys):
    path, expected = folder
    with open(path / "events.tsv", "a") as file:
        file.write("clip001\t5\t4\t/m/0\nclip001\t1\t2\t/m/unheard\nlost\t1\t2\t/m/0\n")
    status = run(
        path / "store",
        f"--events={path / 'events.tsv'}",
        f"--durations={path / 'durations.csv'}",
        f"--out={path / 'out'}",
    )
    assert status == 3
    captured = capsys.readouterr()
    assert "unknown class '/m/unheard'" in captured.err
    assert "not after its start" in captured.err
    assert "1 clips with events have no scores and are not counted (lost)" in (
        captured.out
    )
    assert len((path / "out" / "problems.txt").read_text().splitlines()) == 2
    summary = json.loads((path / "out" / "summary.json").read_text())["summary"]
    assert summary["psds1_macro"] == pytest.approx(expected["psds1_macro"])


def test_a_broken_table_is_told_and_the_rest_evaluated(folder, capsys):
    path, _ = folder
    (path / "tables" / "clip003.tsv").write_text("onset\toffset\n")
    status = run(
        path / "tables",
        f"--events={path / 'events.tsv'}",
        f"--classes={path / 'classes.tsv'}",
        "--metrics=pauroc",
    )
    assert status == 3
    captured = capsys.readouterr()
    assert "clip003.tsv" in captured.err
    assert "have no scores and are not counted (clip003)" in captured.out
    assert "clips have no duration" in captured.out


def test_scores_of_clips_that_the_events_do_not_list_are_told(folder, capsys):
    path, _ = folder
    lines = (path / "events.tsv").read_text().splitlines()
    first = lines[1].split("\t")[0]
    own = [line for line in lines[1:] if line.startswith(first)]
    (path / "one.tsv").write_text("\n".join([lines[0], *own]) + "\n")
    arguments = (f"--events={path / 'one.tsv'}", "--metrics=pauroc")
    assert run(path / "store", *arguments, "--keep-empty-clips") == 3  # no durations
    told = "7 clips with scores are not among the events' and left out"
    assert told in capsys.readouterr().out


def test_long_lists_of_problems_are_cut_on_the_screen(folder, capsys):
    path, _ = folder
    with open(path / "events.tsv", "a") as file:
        file.write("clip001\t5\t4\t/m/0\n" * 25)
    assert (
        run(path / "store", f"--events={path / 'events.tsv'}", "--metrics=pauroc") == 3
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "left out: 25 rows or files in all"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--events=events.tsv"], "nowhere: no such folder"),
        (["empty", "--events=events.tsv"], "no scores.json"),
        (["store", "--events=store/scores.json"], "no column of files"),
        (["store", "--events=events.tsv", "--metrics=f1"], "unknown metric 'f1'"),
        (["store", "--events=events.tsv", "--metrics=,"], "no metric given"),
        (["store", "--events=events.tsv", "--median=-1"], "median filter width"),
        (["store", "--events=events.tsv", "--out=events.tsv"], "is a file"),
        (["store", "--events=events.tsv", "--out=events.tsv/a"], "cannot be made"),
        (
            ["store", "--events=events.tsv", "--postprocess=sebb", "--median=1"],
            "--median 1 has no effect with --postprocess sebb",
        ),
        (
            ["store", "--events=events.tsv", "--postprocess=tuned.json", "--median=0"],
            "--median 0 has no effect with --postprocess tuned.json",
        ),
        (
            [
                *["store", "--events=events.tsv", "--postprocess=tuned.json"],
                "--min-s=1",
            ],
            "tuned.json says itself how short",
        ),
    ],
)
def test_what_cannot_work_is_refused(folder, monkeypatch, arguments, message):
    path, _ = folder
    monkeypatch.chdir(path)
    (path / "empty").mkdir()
    tuned = Postprocessing("class_medians", classes={"class 0": 0.2})
    write(path / "tuned.json", tuned, {})
    with pytest.raises(InputError, match=message):
        run(*arguments)
