import pytest

from jaxsed.errors import InputError
from jaxsed.labels.clip_names import (
    clip_id,
    clip_ids,
    clip_ids_among,
    clip_path,
    legible,
    paths_meant,
)


@pytest.mark.parametrize(
    ("cell", "path"),
    [
        ("a.wav", "a"),
        ("./audio//a.FLAC", "audio/a"),
        ("..\\audio\\a.wav", "audio/a"),
        ("C:\\data\\a.wav", "data/a"),
        ("/home/me/data/a.mp3", "home/me/data/a"),
        ("64760", "64760"),
        ("v1.5", "v1.5"),
        ("", ""),
        (".", ""),
        ("/", ""),
    ],
)
def test_paths_in_tables(cell, path):
    assert clip_path(cell) == path


def test_paths_are_composed():
    assert clip_path("cafe\u0301/a.wav") == "caf\u00e9/a"


def test_names_that_are_no_text_become_text():
    path = clip_path("day/\udcff\udce9.wav")
    assert path == "day/\ufffd\ufffd" and path.encode()
    assert legible("a\\b é.wav") == "a\\b é.wav"


def test_clips_are_called_by_what_differs_in_their_paths():
    paths = ["audio/day1/a", "audio/day2/a", "audio/day1/a"]
    ids = {"audio/day1/a": "day1-a", "audio/day2/a": "day2-a"}
    assert clip_ids(paths) == ids
    assert clip_ids(["x_30000", "y/z"]) == {"x_30000": "x_30000", "y/z": "y-z"}
    assert clip_ids(["audio/day1/a"]) == {"audio/day1/a": "a"}
    assert clip_ids([]) == {}
    assert clip_id("day1/a") == clip_id("audio/day1/a", "audio/") == "day1-a"


@pytest.mark.parametrize(
    ("paths", "known", "ids"),
    [
        # Of a part of the data, whose clips have more folders in common.
        (["day1/a", "day1/b"], ["day1-a", "day1-b", "day2-a"], ["day1-a", "day1-b"]),
        # Seen from a folder further up, or from one of several.
        (["my/day1/a", "my/day2/b"], ["day1-a", "day2-b"], ["day1-a", "day2-b"]),
        (["day1/a", "day1/b", "day2/c"], ["a", "b"], ["a", "b", "day2-c"]),
        # One that is not known is not taken for another in a folder above it.
        (["x/a", "a", "b"], ["a", "b"], ["a", "b", "x-a"]),
        (["day1/a"], ["day1/a"], ["day1/a"]),  # as others spell it
        (["day1/a", "day1/b"], ["c"], ["a", "b"]),
        # What others see at the top is no other folder's.
        (["c", "x/a", "x/b"], ["a", "b", "c"], ["c", "a", "b"]),
        (["x/c", "x/y/c"], ["c", "y-c"], ["c", "y-c"]),
    ],
)
def test_clips_are_called_as_others_call_them(paths, known, ids):
    found = clip_ids_among(paths, known)
    assert found == dict(zip(sorted(paths), ids, strict=True))


@pytest.mark.parametrize("known", ["a", "abc"])
def test_which_folder_is_meant_is_not_guessed(known):
    with pytest.raises(
        InputError, match="day1/a may be meant by 'a', but day2/a by 'a'"
    ):
        clip_ids_among(["day1/a", "day1/b", "day2/a"], list(known))


def test_namesakes_are_refused():
    message = "a-b and a/b would both be called a-b; rename one"
    for name in (clip_ids, lambda paths: clip_ids_among(paths, ["a-b"])):
        with pytest.raises(InputError, match=message):
            name(["a/b", "a-b"])


@pytest.mark.parametrize(
    ("files", "paths", "meant"),
    [
        # One recording of a folder whose table lists all, from the folder above.
        (["day1/a"], ["day1/a", "day2/a"], ["day1/a"]),
        (["my/day1/a", "my/day2/a"], ["day1/a", "my/day2/a"], ["day1/a", "my/day2/a"]),
        (["a", "b"], ["C/old/a", "c"], ["C/old/a", None]),  # a table from elsewhere
        (["day1/a"], ["day1-a"], ["day1-a"]),
    ],
)
def test_which_path_means_a_file(files, paths, meant):
    wholes = {file: f"disk/{file}" for file in files}
    expected = {file: path for file, path in zip(files, meant) if path}
    assert paths_meant(wholes, paths) == expected
    below = {file.rpartition("/")[2]: whole for file, whole in wholes.items()}
    if len(below) == len(files) and meant != ["day1-a"]:
        assert list(paths_meant(below, paths).values()) == list(expected.values())


def test_a_path_that_may_mean_several_files_or_none_for_sure_is_refused():
    wholes = {"day1/a": "disk/day1/a", "day2/a": "disk/day2/a"}
    with pytest.raises(InputError, match="a may be day1/a or day2/a: write the folder"):
        paths_meant(wholes, ["a"])
    with pytest.raises(
        InputError, match="a may be old/x/a or old/y/a: leave the lines"
    ):
        paths_meant({"a": "disk/a"}, ["old/x/a", "old/y/a"])
