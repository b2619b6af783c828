import os

import pytest

from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.data.layouts.matching import (
    find_audio,
    match_audio,
    shared_videos,
    without_y,
)


def test_the_better_name_is_taken_whatever_comes_first(tmp_path):
    folder = Folder(tmp_path)
    names = ["Yabc.wav", "abc.wav", "Yabc_0.wav", "b/abc_0.wav", "a/abc_0.wav"]
    found = [(name.split("/")[-1][:-4], AudioSource(folder, name)) for name in names]
    for order in (found, found[::-1]):
        problems = []
        (source,) = match_audio(["abc_0"], order, problems)
        assert source.name == "a/abc_0.wav"
        ((clip, kind, what),) = problems
        assert (clip, kind) == ("abc_0", "duplicate_audio")
        assert what.startswith("a/abc_0.wav, b/abc_0.wav, Yabc_0.wav, abc.wav: the fir")
    for best in ("abc_0", "Yabc_0", "abc", "Yabc"):
        (source,) = match_audio(["abc_0"], found, [])
        assert source.name.split("/")[-1] == f"{best}.wav"
        found = [item for item in found if item[0] != best]


def test_the_rows_of_packs_are_taken_in_order(tmp_path):
    pack = Hdf5Pack(tmp_path, "eval.hdf")
    found = [("abc", AudioSource(pack, row)) for row in (10, 9, 100)]
    problems = []
    assert match_audio(["abc_0"], found, problems) == [AudioSource(pack, 9)]
    assert problems[0].detail == (
        "eval.hdf[9], eval.hdf[10], eval.hdf[100]: the first is used"
    )


def test_a_video_of_several_segments_names_none(tmp_path):
    segments = ["abc_0", "abc_10000", "_x", "abd_0"]
    assert shared_videos(segments) == {"abc"}
    found = [(name, AudioSource(Folder(tmp_path), name)) for name in ("abc", "", "abd")]
    assert [source and source.name for source in match_audio(segments, found, [])] == [
        None,
        None,
        None,
        "abd",
    ]


@pytest.mark.parametrize(
    ("stem", "clip"),
    [
        ("Y--PJHxphWEs", "--PJHxphWEs"),
        ("Y--PJHxphWEs_30000", "--PJHxphWEs_30000"),
        ("YYabcdefghi3", "Yabcdefghi3"),
        ("Yabcdefghi3", "Yabcdefghi3"),  # eleven letters: the Y is its own
        ("Yellow", "Yellow"),
        ("--PJHxphWEs", "--PJHxphWEs"),
    ],
)
def test_only_a_y_in_front_of_an_id_is_removed(stem, clip):
    assert without_y(stem) == clip


def test_finding_asks_no_file_for_anything(tmp_path, monkeypatch):
    """On a network that is a millisecond a file, and there are two million."""
    for k in range(300):
        (tmp_path / f"{k}.wav").touch()
    asked = []
    for name in ("stat", "lstat"):
        function = getattr(os, name)
        monkeypatch.setattr(
            os,
            name,
            lambda *args, f=function, **kw: asked.append(args) or f(*args, **kw),
        )
    assert len(list(find_audio(tmp_path))) == 300
    assert len(asked) < 50


def test_packs_tables_and_other_splits_are_no_sounds(tmp_path):
    for name in ("a.hdf", "a.parquet", "a.csv", ".a.wav", "eval/b.wav", "train/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = {source.name for _, source in find_audio(tmp_path, None, {"eval"})}
    assert found == {"train/c.wav"}
