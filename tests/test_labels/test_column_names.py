from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.labels.column_names import (
    FILE_COLUMNS,
    LABEL_COLUMNS,
    ONSET_COLUMNS,
    column_key,
    column_of_durations,
    find_column,
    refuse_other_times,
)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Begin Time (s)", "begin_time_s"),
        ("File Name", "file_name"),
        (" Label ", "label"),
        ("Étiquette", "étiquette"),
    ],
)
def test_case_and_punctuation_do_not_count(name, key):
    assert column_key(name) == key


@pytest.mark.parametrize(
    ("header", "known", "found"),
    [
        (["id", "path", "label"], FILE_COLUMNS, "path"),
        (["tag", "Label", "label"], LABEL_COLUMNS, "Label"),
        (["Begin Time (s)", "End Time (s)"], ONSET_COLUMNS, "Begin Time (s)"),
        (["onset_ms"], ONSET_COLUMNS, None),
        ([], ONSET_COLUMNS, None),
    ],
)
def test_the_first_name_that_is_known_counts(header, known, found):
    assert find_column(header, known) == found


def test_durations_count_where_there_are_no_offsets():
    assert column_of_durations(["onset", "Length (s)"]) == "Length (s)"
    assert column_of_durations(["onset", "duration", "stop"]) is None
    assert column_of_durations(["onset", "lengthy"]) is None


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Duration (s)", "durations"),
        ("end_ms", "no seconds"),
        ("Begin Sample", "no seconds"),
    ],
)
def test_times_that_are_no_seconds_from_the_start(name, what):
    with pytest.raises(InputError, match=f"t.csv: times under '.*' seem to be {what}"):
        refuse_other_times(Path("t.csv"), name)
    refuse_other_times(Path("t.csv"), "end_s")
