import pytest

from jaxsed.data.layouts.raven_files import RavenFiles, columns_of_files
from jaxsed.errors import InputError

SOUNDS = ("day1/a", "day2/a", "day2/b", "old/day2/b", "c")


@pytest.mark.parametrize(
    ("begin", "folder", "found"),
    [
        ("b.wav", "day2", "day2/b"),
        ("c.flac", "day1", "c"),
        ("D:\\rec\\day1\\a.wav", "day2", "day1/a"),
        ("/home/me/old/day2/b.wav", "day2", "old/day2/b"),
        ("gone/a.wav", "day2", "day2/a"),
        ("gone/d.wav", "", "gone/d"),
    ],
)
def test_the_recording_that_is_meant(begin, folder, found):
    assert RavenFiles(SOUNDS).find(begin, folder) == found


def test_which_one_is_meant_is_not_guessed():
    with pytest.raises(InputError, match=r"a\.wav may be day1/a or day2/a; put the"):
        RavenFiles(SOUNDS).find("a.wav", "")


def test_columns_in_any_case_and_the_path_before_the_name():
    both = ("begin path", "file offset (s)")
    assert columns_of_files(["Begin File", "Begin Path", "File Offset (s)"]) == both
    assert columns_of_files(["Begin File", "Begin Time (s)"]) == ()
    assert columns_of_files(["File Offset (s)"]) == ()


@pytest.mark.parametrize(
    ("begins", "path", "are_others"),
    [
        (["a.wav"], "day1/a", False),
        (["/far/day2/a.wav"], "day1/a", False),
        (["renamed.wav"], "day1/a", False),
        (["b.wav"], "day1/a", True),  # of files in a row the second alone has calls
        (["a.wav", "gone.wav"], "day1/a", True),
        (["a.wav"], "day1/project", True),
        ([], "day1/project", False),
    ],
)
def test_a_table_is_of_the_recording_beside_it_unless_it_says_others(
    begins, path, are_others
):
    assert RavenFiles(SOUNDS).are_others(begins, path) == are_others
