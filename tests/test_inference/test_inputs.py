import ntpath
import os
from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.inference import inputs


@pytest.fixture
def tree(tmp_path):
    for name in (
        "a.wav",
        "b/c.FLAC",
        "b/d/e.mp3",
        "b/notes.txt",
        ".git/x.wav",
        "f",
        "$RECYCLE.BIN/S-1/$RABC.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths):
    return [file.name for file in inputs.find(paths)[0]]


def test_folders_are_searched_by_ending(tree):
    files, problems = inputs.find([tree])
    assert [file.name for file in files] == ["a.wav", "b/c.FLAC", "b/d/e.mp3"]
    assert [file.path for file in files] == [tree / file.name for file in files]
    assert problems == []


def test_names_start_where_all_inputs_meet(tree):
    assert names([tree / "b" / "d"]) == ["e.mp3"]
    assert names([tree / "b" / "d" / "e.mp3"]) == ["e.mp3"]
    assert names([tree / "b" / "d", tree / "a.wav"]) == ["a.wav", "b/d/e.mp3"]


def test_a_named_file_needs_no_ending_and_is_taken_once(tree, monkeypatch):
    monkeypatch.chdir(tree)
    again = [tree / "a.wav", tree / "b" / ".." / "a.wav", os.path.relpath("a.wav")]
    assert names([tree / "f", *again]) == ["a.wav", "f"]
    assert names([tree / "nowhere.wav", tree / "f"]) == ["f", "nowhere.wav"]


def test_inputs_on_several_drives_of_windows(tree, monkeypatch):
    monkeypatch.setattr(
        os.path, "commonpath", lambda _: ntpath.commonpath(["C:\\a", "D:\\b"])
    )
    with pytest.raises(InputError, match="are on different drives: start once for"):
        inputs.find([tree / "a.wav", tree / "f"])


def test_nothing_of_what_is_named_exists(tree):
    with pytest.raises(InputError, match=r"nowhere\.wav: no such file or folder$"):
        inputs.find([tree / "nowhere.wav"])
    with pytest.raises(InputError, match=r"day, 1: no such .* needs quotation marks"):
        inputs.find([tree / "day", Path("1")])
    assert names([tree / "a.wav" / "below", tree / "f"]) == ["a.wav/below", "f"]


def test_what_has_to_be_converted(tree):
    assert inputs.conversion(tree / "b.M4A") == "; convert it: ffmpeg -i a.m4a a.flac"
    assert inputs.conversion(tree / "a.wav") == ""


def test_folders_with_nothing_in_them(tree):
    (tree / "empty").mkdir()
    with pytest.raises(InputError, match=r"no sound file in .*looked for endings wav"):
        inputs.find([tree / "empty"])
    files, problems = inputs.find([tree / "empty", tree / "a.wav"])
    assert len(files) == 1
    assert problems == [f"{tree / 'empty'}: no sound file in this folder"]


def test_links_in_circles_end(tree):
    (tree / "b" / "back").symlink_to(tree)
    assert names([tree]) == ["a.wav", "b/c.FLAC", "b/d/e.mp3"]


def test_links_to_folders_are_followed(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    (elsewhere / "x.wav").touch()
    for name in ("b/disk", "also"):
        (tree / name).symlink_to(elsewhere)
    assert names([tree]) == ["a.wav", "also/x.wav", "b/c.FLAC", "b/d/e.mp3"]
