from pathlib import Path

import pytest

from jaxsed.data.layouts.event_columns import (
    EventOptions,
    find_event_columns,
    find_file_and_split,
)
from jaxsed.errors import InputError

TABLE = Path("t.csv")


@pytest.mark.parametrize(
    "header, found",
    [
        ("filename,onset,offset,event_label", ("onset", "offset", "event_label")),
        ("Begin Time (s)|End Time (s)|Annotation",
         ("Begin Time (s)", "End Time (s)", "Annotation")),
        ("Start (s),End (s),Scientific name,Common name,Confidence,File",
         ("Start (s)", "End (s)", "Common name")),
        ("segment_id,start_time_seconds,end_time_seconds,label",
         ("start_time_seconds", "end_time_seconds", "label")),
    ],
)  # fmt: skip
def test_what_columns_are_usually_called(header, found):
    names = header.split("|" if "|" in header else ",")
    assert find_event_columns(TABLE, names, EventOptions()) == found


def test_columns_by_name():
    options = EventOptions(onset_column="t0", offset_column="t1", label_column="what")
    header = ["t0", "onset", "t1", "What", "wav", "fold"]
    assert find_event_columns(TABLE, header, options) == ("t0", "t1", "What")
    assert find_file_and_split(TABLE, header, options) == ("wav", "fold")
    assert find_file_and_split(TABLE, ["file"], options) == ("file", None)


@pytest.mark.parametrize(
    "header, options, what",
    [
        ("onset,duration,label", {}, "'duration' seem to be durations"),
        (
            "onset,Length (s),label",
            {"offset_column": "length_s"},
            "'Length .* durations",
        ),
        (
            "onset,end_ms,label",
            {"offset_column": "end_ms"},
            "'end_ms' seem to be no sec",
        ),
        ("Begin Sample,end,label", {"onset_column": "begin sample"}, "be no seconds"),
    ],
)
def test_times_that_are_no_seconds_from_the_start(header, options, what):
    with pytest.raises(InputError, match=what):
        find_event_columns(TABLE, header.split(","), EventOptions(**options))


def test_durations_beside_offsets_are_nothing_special():
    header = ["start", "duration", "stop", "label"]
    found = find_event_columns(TABLE, header, EventOptions())
    assert found == ("start", "stop", "label")


def test_a_column_that_is_not_there():
    message = r"t\.csv: no column of onsets .*did you mean 'onsets'\?.*--onset-column"
    with pytest.raises(InputError, match=message):
        find_event_columns(TABLE, ["onsets", "offset", "label"], EventOptions())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"unlabelled": "silent"}, "unknown --unlabelled 'silent'"),
        ({"label_format": "praat"}, "unknown --label-format 'praat'"),
        (
            {"label_format": "raven", "eval_folds": ("1",)},
            "--eval-folds is for tables; label files of raven",
        ),
        ({"label_format": "audacity", "tables": ("a",)}, "--table is for tables"),
        ({"eval_share": 3.0}, "--eval-share 3; expected"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        EventOptions(**options)
