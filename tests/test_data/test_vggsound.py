import pytest

from jaxsed.data.layouts import vggsound as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.problems import WHOLE_CLIP
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from .clip_folders import VGGSOUND, write_sound, write_text, write_vggsound

TRAIN = [
    "--0PQM4-hqg_000030",
    "--56QUhyDQM_000185",
    "-0dashdash0_000007",
    "-0dashdash0_000040",
]
CLASSES = ("bird chirping, tweeting", "people marching", "waterfall burbling")


def kinds_of(source):
    return [(problem.kind, problem.detail.split(":")[0]) for problem in source.problems]


def test_the_table_as_released(tmp_path):
    write_text(tmp_path / "vggsound.csv", VGGSOUND)
    assert layout.available_splits(tmp_path) == ["train", "eval"]
    train, evaluation = (layout.read(tmp_path, split) for split in layout.SPLITS)
    assert [clip.id for clip in train.clips] == TRAIN
    assert [clip.id for clip in evaluation.clips] == ["---g-f_I2yQ_000001"]
    assert train.clips[1].events == ((*WHOLE_CLIP, CLASSES[0], 3),)
    assert train.clips[1].listed_seconds == 10.0
    assert train.vocabulary.names == evaluation.vocabulary.names == CLASSES
    assert (train.annotation, train.labels) == ("clips", "single")
    assert train.problems == evaluation.problems == ()


@pytest.mark.parametrize("folder", ["data", "metadata"])
def test_the_table_may_lie_deeper(tmp_path, folder):
    write_text(tmp_path / folder / "vggsound.csv", VGGSOUND)
    assert layout.available_splits(tmp_path) == ["train", "eval"]


@pytest.mark.parametrize(
    "name",
    [
        "{video}_{start:06d}.flac",
        "{video}_{start}.wav",
        "{video}_{start_ms}.wav",
        "{video}_{start}_{end}.ogg",
        "{video}_{start_ms}_{end_ms}.flac",
        "sub/Y{video}_{start:06d}.wav",
    ],
)
def test_sounds_are_found_as_scripts_call_them(tmp_path, name):
    write_vggsound(tmp_path, name)
    source = layout.read(tmp_path, "train")
    for clip in source.clips:
        video, _, start = clip.id.rpartition("_")
        assert video in clip.audio.name
        assert str(int(start)) in clip.audio.name.rpartition(video)[2]
    assert source.problems == ()


def test_a_video_alone_names_a_clip_where_there_is_one(tmp_path):
    write_vggsound(tmp_path, "{video}.wav")
    names = [
        clip.audio and clip.audio.name for clip in layout.read(tmp_path, "train").clips
    ]
    expected = ["audio/--0PQM4-hqg.wav", "audio/--56QUhyDQM.wav", None, None]
    assert names == expected


def test_a_video_of_both_splits_names_no_clip(tmp_path):
    table = "abcdefghij1,10,thunder,train\nabcdefghij1,70,thunder,test\n"
    table += "abcdefghij2,5,thunder,train\n"
    write_text(tmp_path / "vggsound.csv", table)
    for video in ("abcdefghij1", "abcdefghij2"):
        write_sound(tmp_path / f"{video}.wav", 10.0)
    train, evaluation = (layout.read(tmp_path, split) for split in layout.SPLITS)
    names = [clip.audio and clip.audio.name for clip in train.clips]
    assert names == [None, "abcdefghij2.wav"]
    assert not evaluation.has_audio


def test_a_partial_copy_is_counted_by_class(tmp_path):
    root = write_vggsound(tmp_path / "source")
    (root / "audio" / f"{TRAIN[2]}.wav").unlink()
    write_text(root / "audio" / f"{TRAIN[1]}.wav", "<html>")
    source = layout.read(root, "train")
    manifest = prepare(source, tmp_path / "out")
    assert manifest["labels"] == "single"
    assert manifest["problems"] == {"missing": 1, "undecodable": 1}
    counts = {c["name"]: (c["clips"], c["missing"]) for c in manifest["classes"]}
    assert counts == dict(zip(CLASSES, [(0, 1), (1, 1), (1, 0)]))
    data = PreparedData(tmp_path / "out")
    assert (list(data.ids), data.labels) == ([TRAIN[0], TRAIN[3]], "single")


def test_a_sound_of_another_length_is_told(tmp_path):
    root = write_vggsound(tmp_path / "source")
    write_sound(root / "audio" / f"{TRAIN[0]}.wav", 4.0)
    write_sound(root / "audio" / f"{TRAIN[1]}.wav", 12.0)
    manifest = prepare(layout.read(root, "train"), tmp_path / "out")
    assert manifest["problems"] == {"short": 1, "long": 1}
    assert manifest["clips"] == 4


def test_broken_lines(tmp_path):
    table = "\ufeffvideo id,start_seconds,label,split\n" + VGGSOUND
    table += "-0dashdash0,7,people marching,train\n"  # twice
    table += "-0dashdash0,40,people booing,train\n"  # says something else
    table += "abcdefghij1,12,thunder\n\n"
    table += "abcdefghij2,soon,thunder,train\n"
    table += "abcdefghij3,5,,train\n"
    table += "abcdefghij4,5,thunder,holdout\n"
    table += "abcdefghij5,5,donkey, ass braying,train\n"  # as some write it anew
    table += "abcdefghij6,5,caf\u0301e “live” \t/ \u9ce5,train\n"
    write_text(tmp_path / "vggsound.csv", table.replace("\n", "\r\n"))
    source = layout.read(tmp_path, "train")
    assert kinds_of(source) == [
        ("several_labels", "line 8"),
        ("unreadable_line", "vggsound.csv, line 9"),
        ("unreadable_line", "vggsound.csv, line 11"),
        ("unreadable_line", "vggsound.csv, line 12"),
        ("unknown_split", "vggsound.csv, line 13"),
    ]
    ids = [clip.id for clip in source.clips]
    assert ids == [*TRAIN, "abcdefghij5_000005", "abcdefghij6_000005"]
    assert "donkey, ass braying" in source.vocabulary.names
    (odd,) = (name for name in source.vocabulary.names if name.startswith("caf"))
    assert odd.endswith("/ \u9ce5")
    # Nothing is read twice of the clip with two lines.
    assert [event.label for event in source.clips[3].events] == ["people marching"]
    assert len(source.clips[2].events) == 2


def test_a_line_that_comes_twice_is_used_once(tmp_path):
    root = write_vggsound(tmp_path / "source")
    write_text(root / "vggsound.csv", VGGSOUND * 2)
    manifest = prepare(layout.read(root, "train"), tmp_path / "out")
    assert manifest["problems"] == {"duplicate": 4}
    assert [c["events"] for c in manifest["classes"]] == [1, 2, 1]


def test_a_given_vocabulary(tmp_path):
    write_text(tmp_path / "vggsound.csv", VGGSOUND)
    mine = Vocabulary("mine", CLASSES[1:])
    assert layout.read(tmp_path, "train", mine).vocabulary is mine


def test_no_table_and_no_line(tmp_path):
    assert layout.available_splits(tmp_path) == []
    with pytest.raises(InputError, match=r"no vggsound\.csv in "):
        layout.read(tmp_path, "train")
    for nothing in ("", VGGSOUND.splitlines()[0]):
        write_text(tmp_path / "vggsound.csv", nothing)
        with pytest.raises(
            InputError, match="no line of train can be read as YouTube id"
        ):
            layout.read(tmp_path, "train")
    write_text(tmp_path / "vggsound.csv", "---g-f_I2yQ;1;people marching;test\n")
    assert layout.available_splits(tmp_path) == ["train", "eval"]  # to be told why not
    write_text(tmp_path / "vggsound.csv", b"---g-f_I2yQ,1,caf\xe9,test\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        layout.available_splits(tmp_path)
