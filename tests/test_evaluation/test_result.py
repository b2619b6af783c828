"""Printed and written tables."""

import json
import math

from jaxsed.evaluation.result import Result, examples, write_summary, write_table

RESULT = Result(
    {"psds1": 0.25, "pauroc": math.nan, "clips": 7},
    [
        {"class": "Dog", "mid": "/m/0", "events": 3, "psds1": 0.1, "pauroc": 0.75},
        {"class": "Cat\t2", "mid": "", "events": 12, "psds1": 0.4, "pauroc": math.nan},
    ],
    ["2 clips without scores"],
    skipped=2,
)


def test_printed_table_has_the_best_class_first():
    assert RESULT.format_table().splitlines() == [
        "psds1        0.2500",
        "pauroc       -",
        "clips        7",
        "",
        "class  events   psds1  pauroc",
        "Cat\t2      12  0.4000       -",
        "Dog         3  0.1000  0.7500",
        "",
        "note: 2 clips without scores",
    ]


def test_values_stand_below_each_other():
    result = Result({"segment_1s_f1": 0.5, "clips": 7}, [])
    assert result.format_table() == "segment_1s_f1 0.5000\nclips         7"


def test_the_best_class_is_that_with_the_least_errors():
    rates = {"a": 0.9, "b": 0.2, "c": math.nan}
    rows = [{"class": name, "segment_1s_er": rate} for name, rate in rates.items()]
    lines = Result({}, rows).format_table().splitlines()
    assert [line.split()[0] for line in lines if line] == ["class", "b", "a", "c"]


def test_files(tmp_path):
    write_table(RESULT, tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == (
        "class\tmid\tevents\tpsds1\tpauroc\n"
        "Dog\t/m/0\t3\t0.1\t0.75\n"
        '"Cat\t2"\t\t12\t0.4\tnan\n'
    )
    write_summary(RESULT, tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == {
        "summary": {"psds1": 0.25, "pauroc": None, "clips": 7},
        "notes": ["2 clips without scores"],
        "skipped": 2,
    }
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.json", "t.tsv"]


def test_frame_and_empty_result():
    assert list(RESULT.frame()["events"]) == [3, 12]
    assert Result({"map": 0.5}, []).format_table() == "map          0.5000"


def test_examples_show_the_first_few():
    assert examples(["a", "b"]) == "a, b"
    assert examples(["a", "b", "c", "d"]) == "a, b, c, ..."
