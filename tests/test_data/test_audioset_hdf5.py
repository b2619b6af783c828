import builtins

import h5py
import numpy as np
import pytest

from jaxsed.data.layouts import audioset_hdf5 as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.problems import WHOLE_CLIP
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from . import packs
from .packs import CLIPS, DOG, MUSIC, SOUNDS, SPEECH, VIDEOS


def kinds_of(source):
    return [(problem.clip, problem.kind) for problem in source.problems]


def test_labels_of_clips(tmp_path):
    packs.write_pack(tmp_path, "balanced_train", CLIPS[:1])
    # The unbalanced pack has the number of its part in front of every name.
    names = [f"{k:02d}/Y{video}.mp3" for k, video in enumerate(VIDEOS[1:])]
    packs.write_pack(tmp_path, "unbalanced_train", CLIPS[1:], SOUNDS[1:], names)
    assert layout.available_splits(tmp_path) == ["train"]
    source = layout.read(tmp_path, "train")
    assert (source.layout, source.annotation) == ("audioset_hdf5", "clips")
    assert source.vocabulary == packs.CLASSES
    assert [clip.id for clip in source.clips] == sorted(VIDEOS)
    assert source.clips[0].events == ((*WHOLE_CLIP, SPEECH, 0), (*WHOLE_CLIP, DOG, 0))
    sounds = {clip.id: clip.audio.read() for clip in source.clips}
    assert sounds == dict(zip(VIDEOS, SOUNDS))
    alone = layout.read(tmp_path, "balanced_train")
    assert [clip.id for clip in alone.clips] == VIDEOS[:1]


def test_packs_may_lie_in_mp3(tmp_path):
    packs.write_pack(tmp_path / "mp3", "eval")
    source = layout.read(tmp_path, "eval")
    assert source.clips[0].audio.name == "mp3/eval_segments_mp3.hdf[0]"


def test_frames_come_from_the_tables_beside_unless_clips_are_asked_for(tmp_path):
    packs.write_pack(tmp_path, "balanced_train")
    packs.write_pack(tmp_path, "eval")
    packs.write_strong(tmp_path)
    source = layout.read(tmp_path, "train")
    assert (source.layout, source.annotation) == ("audioset_hdf5", "frames")
    assert len(source.vocabulary) == 3
    assert source.clips[0].events[0][:3] == (0.5, 2.25, SPEECH)
    assert source.clips[0].audio.read() == SOUNDS[0]
    assert layout.read(tmp_path, "eval").annotation == "clips"
    assert layout.read(tmp_path, "train", annotation="clips").annotation == "clips"
    with pytest.raises(InputError, match=r"audioset_eval_strong\.tsv not found"):
        layout.read(tmp_path, "eval", annotation="frames")


def test_clips_of_the_table_that_no_pack_has_are_missing(tmp_path):
    packs.write_pack(tmp_path / "source", "balanced_train", CLIPS[1:], SOUNDS[1:])
    packs.write_strong(tmp_path / "source")
    manifest = prepare(layout.read(tmp_path / "source", "train"), tmp_path / "out")
    missing = {entry["name"]: entry["missing"] for entry in manifest["classes"]}
    assert missing == {"Dog": 1, "Music": 0, "Speech": 1}
    assert manifest["problems"] == {"missing": 1}


def test_several_segments_of_a_video(tmp_path):
    clips = [(video, 0, labels) for video, _, labels in CLIPS]
    video = VIDEOS[1]
    names = [f"Y{video}_0.mp3", f"Y{video}_30000.mp3", f"Y{VIDEOS[2]}.mp3", "Yx.mp3"]
    packs.write_pack(tmp_path, "eval", clips, names=names)
    source = layout.read(tmp_path, "eval")
    assert [clip.id for clip in source.clips] == sorted(
        [f"{video}_0", f"{video}_30000", VIDEOS[2], "Yx"]
    )
    packs.write_pack(tmp_path, "eval", clips, names=[f"Y{video}.mp3"] * 4)
    source = layout.read(tmp_path, "eval")
    (clip,) = source.clips
    assert clip.audio.read() == SOUNDS[0]
    assert kinds_of(source) == [(video, "duplicate_audio")] * 3


def test_another_vocabulary_picks_its_classes(tmp_path):
    packs.write_pack(tmp_path / "source", "eval")
    one = Vocabulary("one", ("Hound",), (DOG,))
    manifest = prepare(layout.read(tmp_path / "source", "eval", one), tmp_path / "out")
    assert manifest["classes"][0]["clips"] == 2
    assert manifest["problems"] == {"no_events": 2, "unknown_label": 4}


def test_broken_sounds_and_rows_do_not_stop_the_rest(tmp_path):
    source = tmp_path / "source"
    sounds = [SOUNDS[0], b"", b"<html>gone</html>", SOUNDS[3]]
    path = packs.write_pack(source, "eval", CLIPS, sounds)
    with h5py.File(path, "r+") as file:
        file["audio_name"][3] = b"\xff\xfe.mp3"
        file["target"][0, -1] |= 1  # behind the last class
    split = layout.read(source, "eval")
    assert kinds_of(split) == [("", "unreadable_line")]
    assert "eval_segments_mp3.hdf[3]: audio_name" in split.problems[0].detail
    manifest = prepare(split, tmp_path / "out")
    assert manifest["problems"] == {
        "undecodable": 1,
        "empty": 1,
        "unreadable_line": 1,
        "unknown_label": 1,
    }
    assert list(PreparedData(tmp_path / "out").ids) == VIDEOS[:1]
    text = (tmp_path / "out" / "problems.tsv").read_text(encoding="utf-8")
    assert "unknown_label\tclass 527: unknown class" in text
    assert f"{VIDEOS[2]}\tundecodable\teval_segments_mp3.hdf[2]: not a sound" in text


def test_a_sound_that_cannot_be_read_is_named(tmp_path):
    source = tmp_path / "source"
    path = packs.write_pack(source, "eval")
    content = path.read_bytes()
    place = content.rindex(b"GCOL", 0, content.index(SOUNDS[2][5000:5050]))
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(b"XXXX")  # the heap that holds the sound
    manifest = prepare(layout.read(source, "eval"), tmp_path / "out")
    assert manifest["problems"]["missing"] >= 1
    text = (tmp_path / "out" / "problems.tsv").read_text(encoding="utf-8")
    assert f"{VIDEOS[2]}\tmissing\teval_segments_mp3.hdf[2]: cannot be read (" in text


def test_a_file_that_was_cut_off_is_refused(tmp_path):
    path = packs.write_pack(tmp_path, "eval")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"eval_.*hdf is not a whole HDF5 .*truncated"):
        layout.read(tmp_path, "eval")
    path.write_bytes(b"<html>gone</html>")
    with pytest.raises(
        InputError, match=r"not a whole HDF5 file .* copy it again"
    ) as e:
        layout.read(tmp_path, "eval")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("audio_name", None, "no data set 'audio_name'; found mp3, target"),
        ("mp3", None, "no data set 'mp3'"),
        ("target", None, "no data set 'target'"),
        (
            "audio_name",
            np.arange(4),
            r"audio_name is int64 \[4\]; expected names \[4\]",
        ),
        (
            "audio_name",
            np.array([b"Ya.mp3"] * 3),
            r"audio_name is \|S6 \[3\]; expected",
        ),
        (
            "mp3",
            np.zeros((4, 9), np.int16),
            r"mp3 is int16 \[4, 9\]; expected variable",
        ),
        (
            "target",
            np.zeros((4, 527), bool),
            r"target is bool \[4, 527\]; expected uint8",
        ),
        (
            "target",
            np.zeros((4, 66), np.uint16),
            r"target is uint16 \[4, 66\]; expected",
        ),
        ("target", np.zeros((3, 66), np.uint8), r"target is uint8 \[3, 66\]; expected"),
    ],
)
def test_packs_of_another_form_are_refused(tmp_path, name, value, cause):
    with h5py.File(packs.write_pack(tmp_path, "eval"), "r+") as file:
        del file[name]
        if value is not None:
            file[name] = value
    with pytest.raises(InputError, match=cause):
        layout.read(tmp_path, "eval")


def test_no_pack(tmp_path):
    with pytest.raises(InputError, match=r"no balanced_train_segments_mp3\.hdf or unb"):
        layout.read(tmp_path, "train")


def test_without_h5py_it_is_said_what_to_install(tmp_path, monkeypatch):
    packs.write_pack(tmp_path, "eval")
    import_it = builtins.__import__

    def without(name, *rest):
        if name == "h5py":
            raise ImportError(name)
        return import_it(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"needs h5py: pip install 'jaxsed\[hdf5\]'"):
        layout.read(tmp_path, "eval")


def test_music_is_where_the_released_list_has_it():
    """Bits are looked up by place: the list must be that of the packs."""
    assert packs.CLASSES.mids[0] == SPEECH
    assert packs.CLASSES.mids.index(MUSIC) == 137
