import re

import pytest

from jaxsed import cli
from tests.test_tables.made_up import grid, students_and_teachers, training


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    students_and_teachers(folder)
    return folder


def table(capsys, *arguments):
    status = cli.main(["table", *map(str, arguments)])
    return status, *capsys.readouterr()


def rows_of(out):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in out.splitlines()
        if line.startswith("| ")
    ]


def test_table_one_from_folders(runs, capsys):
    status, out, err = table(capsys, runs)
    assert (status, err) == (0, "")
    assert rows_of(out) == [
        ["", "beats", "m2d"],
        ["KD from ensemble", "**46.1 ± 0.1**", "**45.1 ± 0.1**"],
        ["without KD", "42.1 ± 0.1▼", "41.1 ± 0.1▼"],
    ]
    assert "lower than “KD from ensemble” in the same column" in out
    assert "Bonferroni's correction for 2 columns" in out
    assert "- Rows differ in more than they say: steps." in out


def test_rows_may_be_named_and_put_in_order(runs, capsys):
    arguments = (f"no KD={runs}/teacher_*", f"KD={runs}/student_beats_*")
    status, out, _ = table(capsys, *arguments, runs / "student_m2d_1")
    found = rows_of(out)
    assert status == 0 and [row[0] for row in found] == ["", "no KD", "KD"]
    assert found[2][2] == "**45.1**"  # the run that follows belongs to the row
    assert "for want of a second run: KD" in out


def test_runs_that_are_no_repeats_are_not_lumped_silently(runs, capsys):
    one, other = runs / "student_beats_0", runs / "teacher_beats_no_rnn_1"
    status, out, _ = table(capsys, f"all={one}", other)
    assert status == 0 and rows_of(out)[1][0] == "all"
    expected = "Runs of all with beats are no repeats: teacher.logits, steps differ."
    assert expected in out
    assert "no repeats" not in table(capsys, f"KD={runs}/student_*")[1]


def test_metric_reference_digits(runs, capsys):
    options = ("--metric", "pauroc", "--digits", "0", "--reference", "without KD")
    status, out, _ = table(capsys, runs, *options)
    assert status == 0 and rows_of(out)[1][1] == "**80 ± 0**▲"


@pytest.mark.parametrize(
    "name, begins",
    [("t.tex", "\\begin{tabular}"), ("t.csv", "row,column"), ("t.md", "|")],
)
def test_the_file_says_its_format(runs, capsys, tmp_path, name, begins):
    path = tmp_path / "new" / name
    status, out, _ = table(capsys, runs, "--out", path)
    assert (status, out) == (0, "")
    assert path.read_text().startswith(begins)
    _, shown, _ = table(
        capsys, runs, "--format", {"tex": "latex"}.get(name[2:], name[2:])
    )
    assert shown == path.read_text()


def test_grids_and_trainings_side_by_side(tmp_path, capsys):
    grid(tmp_path / "g", {("", 0): 0.9, ("", 1): 0.8})
    training(tmp_path / "r", {"psds1_macro": 0.5}, init="")
    status, out, _ = table(capsys, tmp_path / "g", tmp_path / "r")
    assert status == 0
    assert [row[0] for row in rows_of(out)[1:]] == ["from weak", "from scratch"]
    assert "Scores of grids and tests are of test data" in out


def test_runs_that_are_not_shown_are_named(runs, tmp_path, capsys):
    training(tmp_path / "half", {"psds1_macro": 0.1}, done=False)
    training(tmp_path / "other", {"map": 0.1}, eval__metrics=["map"])
    arguments = (runs, tmp_path / "half", tmp_path / "other", tmp_path / "gone")
    status, out, err = table(capsys, *arguments, "--metric", "psds1_macro")
    assert status == 3
    for name, reason in (
        ("half", "it is not finished (step 5 of 10)"),
        ("other", "it has no psds1_macro, but map"),
        ("gone", "there is no such folder"),
    ):
        assert f"left out: {tmp_path / name}: {reason}" in err
        assert f"- Left out: {tmp_path / name}: {reason}." in out


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["{}/nothing"], "no run can be shown; .*there is no such folder"),
        (["{}/nothing_*"], r"no folder fits .*nothing_\*"),
        (["=x"], "=x: expected a name before ="),
        (["a={}/student_beats_0", "b="], "row 'b' has no runs"),
        (["{}", "--reference", "KD"], "unknown row 'KD'"),
        (["{}", "--columns", "modle.encoder"], "has this key; did you mean 'model.enc"),
        (["{}", "--metric", "nothing"], "no run has a score to show; .*psds1_macro"),
    ],
)
def test_mistakes_are_one_line(runs, capsys, arguments, expected):
    status, out, err = table(capsys, *(text.format(runs) for text in arguments))
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert re.search(expected, err)
