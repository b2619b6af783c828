import os

import pytest

from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.layouts.hdf5_pack import Hdf5Pack
from jaxsed.data.layouts.matching import (
    find_audio,
    match_audio,
    match_paths,
    path_of,
    shared_videos,
    unclaimed,
    walk,
    without_y,
)
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path

from .clip_folders import write_text


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


def test_scripts_write_the_start_in_seconds_or_milliseconds(tmp_path):
    folder = Folder(tmp_path)
    segments = ["abcdefghij1_30000", "abcdefghij1_40000", "Yabcdefghi3_7000"]
    for names in (
        ["abcdefghij1_000030", "Yabcdefghij1_40", "Yabcdefghi3_7"],
        ["abcdefghij1_30_40", "abcdefghij1_40000_50000", "YYabcdefghi3_7.0_17.0"],
        ["abcdefghij1_30.000-40.000", "abcdefghij1_000040_000050", "Yabcdefghi3_7_9"],
    ):
        found = [(name, AudioSource(folder, f"{name}.wav")) for name in names]
        problems = []
        sounds = match_audio(segments, found, problems)
        assert [sound.name[:-4] for sound in sounds] == names
        assert problems == []
    # Another piece of a video is not the clip, nor is another video.
    others = ["abcdefghij1_50", "abcdefghij1_30_x", "bcdefghij1_30", "abcdefghij11_30"]
    found = [(name, AudioSource(folder, name)) for name in others]
    assert match_audio(segments, found, []) == [None] * 3


def test_a_film_is_taken_where_there_is_nothing_else(tmp_path):
    folder = Folder(tmp_path)
    names = ["a/abc_0.mp4", "b/Yabc.wav", "a/abd_0.mp4", "b/abd_0.webm"]
    found = [(name[2:].split(".")[0], AudioSource(folder, name)) for name in names]
    problems = []
    sounds = match_audio(["abc_0", "abd_0"], found, problems, ["one", "two"])
    assert [sound.name for sound in sounds] == ["b/Yabc.wav", "a/abd_0.mp4"]
    assert [problem.clip for problem in problems] == ["two"]


def paths_found(tmp_path, paths, places, problems=None):
    folder = Folder(tmp_path)
    found = [
        (place.split("/")[-1][:-4], AudioSource(folder, place)) for place in places
    ]
    problems = [] if problems is None else problems
    sounds = match_paths(paths, [path.upper() for path in paths], found, problems)
    return [sound and sound.name for sound in sounds]


def test_a_file_fits_whose_path_ends_with_the_clips(tmp_path):
    places = ["x/fold1/a.wav", "x/fold2/a.wav", "x/fold3/a.wav", "xfold1/a.wav"]
    assert paths_found(tmp_path, ["fold2/a", "fold1/a"], places) == places[1::-1]
    # The clip with more folders to its name is meant.
    assert paths_found(tmp_path, ["a", "fold1/a"], places[:1]) == [None, places[0]]


def test_a_table_from_elsewhere_names_more_folders_than_there_are(tmp_path):
    paths = ["home/me/esc/audio/a", "home/me/esc/audio/b", "home/me/esc/b", "esc/c"]
    found = paths_found(tmp_path, paths, ["audio/a.wav", "b.wav", "c.wav", "d.wav"])
    assert found == ["audio/a.wav", None, None, "c.wav"]  # b may be of either


def test_several_files_of_one_path(tmp_path):
    problems = []
    places = ["y/a.wav", "x/a.wav"]
    assert paths_found(tmp_path, ["a"], places, problems) == ["x/a.wav"]
    ((clip, kind, what),) = problems
    assert (clip, kind) == ("A", "duplicate_audio")
    assert what == "x/a.wav, y/a.wav: the first is used"


def test_a_file_of_the_very_path_is_meant(tmp_path):
    """Of z.wav and copy/z.wav the second comes first by its name."""
    problems = []
    assert paths_found(tmp_path, ["z"], ["copy/z.wav", "z.wav"], problems) == ["z.wav"]
    assert problems[0].detail == "z.wav, copy/z.wav: the first is used"


def test_recorders_of_several_places_call_their_files_alike(tmp_path):
    folder = Folder(tmp_path)
    flac, film = AudioSource(folder, "x/a.flac"), AudioSource(folder, "films/a.mp4")
    found = [("a", AudioSource(folder, f"{place}/a.wav")) for place in "xy"]
    copies = [found[0], ("a", flac), ("a", film)]
    assert match_paths(["a"], ["A"], copies, [], in_one_folder=True) == [flac]
    expected = r"a line of a\.wav may be of x/a\.wav or of y/a\.wav: write the folder"
    with pytest.raises(InputError, match=expected):
        match_paths(["a"], ["A"], found, [], in_one_folder=True)
    exact = [*found, ("a", AudioSource(folder, "a.wav"))]
    (sound,) = match_paths(["a"], ["A"], exact, [], in_one_folder=True)
    assert sound.name == "a.wav"


def test_paths_are_composed(tmp_path):
    decomposed = "cafe\u0301"
    folder = Folder(tmp_path)
    found = [("a", AudioSource(folder, f"{decomposed}/a.wav"))]
    path = clip_path("caf\u00e9/a.wav")
    (sound,) = match_paths([path], [path], found, [])
    assert sound.name == f"{decomposed}/a.wav"


def test_what_fits_no_clip(tmp_path):
    for name in ("x/a.wav", "a.mp3", "b.wav", "deep/c.wav", "notes.docx"):
        write_text(tmp_path / name, "")
    found = list(find_audio(tmp_path))
    names = {source.name for _, source in unclaimed(["x/a", "c"], found)}
    assert names == {"b.wav"}  # a.mp3 may be x/a of another place
    assert {path_of(each) for each in found} >= {"x/a", "deep/c"}


def test_a_walk_passes_over_what_is_hidden_and_warns_of_what_is_closed(
    tmp_path, monkeypatch, caplog
):
    for name in ("b/a.wav", "b/._a.wav", ".Trash/a.wav", "out/x", "closed/x"):
        write_text(tmp_path / name, "")
    for link in ("a", "z"):
        (tmp_path / link).symlink_to(tmp_path / "b")
    scan = os.scandir

    def refused(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    found = [(folder, files) for folder, files in walk(tmp_path, tmp_path / "out")]
    assert found == [("", []), ("a/", ["a.wav"])]
    list(walk(tmp_path))
    assert caplog.text.count("closed cannot be read (Permission denied): left out") == 1
