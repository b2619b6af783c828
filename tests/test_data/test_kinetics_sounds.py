import pytest

from jaxsed.data.layouts import kinetics_sounds as layout
from jaxsed.data.prepare import prepare
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from .clip_folders import write_kinetics, write_text

CLIPS = [
    "_dbcJuKJQNs_000040_000050",
    "abcdefghij1_000000_000010",
    "abcdefghij2_000100_000110",
]


def test_the_classes_one_can_hear_are_taken(tmp_path):
    write_kinetics(tmp_path)
    assert layout.available_splits(tmp_path) == ["train"]
    source = layout.read(tmp_path, "train")
    assert [clip.id for clip in source.clips] == CLIPS
    assert source.vocabulary.names == layout.CLASSES
    assert len(layout.CLASSES) == 32
    assert list(layout.CLASSES) == sorted(layout.CLASSES)
    labels = [clip.events[0].label for clip in source.clips]
    assert labels == ["playing guitar", "playing guitar", "tapping pen"]
    assert (source.labels, source.annotation) == ("single", "clips")
    assert source.problems == ()  # clips of other classes are no part of it


@pytest.mark.parametrize(
    "name",
    [
        "{label}/{video}_{start:06d}_{end:06d}.wav",
        "{video}_{start:06d}_{end:06d}.flac",
        "{label}/{video}_{start}_{end}.wav",
        "{video}.wav",
    ],
)
def test_a_folder_a_class_or_flat(tmp_path, name):
    write_kinetics(tmp_path, name)
    for clip in layout.read(tmp_path, "train").clips:
        assert clip.id[:11] in clip.audio.name


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("val.csv", "validation"),
        ("validate.csv", "validation"),
        ("kinetics_400_test.csv", "eval"),
        ("annotations/kinetics600_train.csv", "train"),
    ],
)
def test_the_name_of_a_table_says_its_split(tmp_path, name, split):
    text = "label,youtube_id,time_start,time_end,split\nbowling,abcdefghij1,0,10,x\n"
    write_text(tmp_path / name, text)
    assert layout.available_splits(tmp_path) == [split]
    assert [clip.id for clip in layout.read(tmp_path, split).clips] == CLIPS[1:2]


def test_a_table_without_labels_is_not_used_unless_asked_for(tmp_path):
    write_kinetics(tmp_path)
    write_text(tmp_path / "test.csv", "youtube_id,time_start,time_end,split\n")
    assert layout.available_splits(tmp_path) == ["train"]
    with pytest.raises(InputError, match=r"test\.csv: no column 'label'"):
        layout.read(tmp_path, "eval")


def test_a_misspelt_column_of_labels_is_told(tmp_path):
    header = "lable,youtube_id,time_start,time_end,split\n"
    write_text(tmp_path / "val.csv", header + "bowling,abcdefghij1,0,10,val\n")
    assert layout.available_splits(tmp_path) == ["validation"]
    with pytest.raises(InputError, match="no column 'label'; did you mean 'lable'"):
        layout.read(tmp_path, "validation")


def test_wrong_tables(tmp_path):
    with pytest.raises(
        InputError, match=r"lacks a table of eval, e\.g\. test\.csv, also in"
    ):
        layout.read(tmp_path, "eval")
    write_text(tmp_path / "train.csv", "label,youtube id,time_start,time_end\n")
    with pytest.raises(InputError, match="'youtube_id'; did you mean 'youtube id'"):
        layout.read(tmp_path, "train")
    write_text(
        tmp_path / "train.csv", "label,youtube_id,time_start,time_end\na,b,1,2\n"
    )
    with pytest.raises(
        InputError, match=r"no clip of any of the 32 classes, e\.g\. 'blow"
    ):
        layout.read(tmp_path, "train")
    write_text(tmp_path / "k400_train.csv", "")
    with pytest.raises(
        InputError, match=r"several tables of train: k400_train\.csv, tr"
    ):
        layout.read(tmp_path, "train")


def test_broken_and_repeated_lines(tmp_path):
    root = write_kinetics(tmp_path / "source")
    with open(root / "train.csv", "a", encoding="utf-8") as file:
        file.write("tapping pen,abcdefghij2,100,110,train,0\r\n")
        file.write("bowling,abcdefghij2,100,110,train,0\n")
        file.write("bowling,abcdefghij3,110,100,train,0\nbowling,abcdefghij3\n")
    source = layout.read(root, "train")
    assert [(p.kind, p.clip) for p in source.problems] == [
        ("several_labels", CLIPS[2]),
        ("unreadable_line", ""),
        ("unreadable_line", ""),
    ]
    manifest = prepare(source, tmp_path / "out")
    assert manifest["problems"]["duplicate"] == 1
    assert manifest["clips"] == 3


def test_other_classes_by_a_vocabulary(tmp_path):
    write_kinetics(tmp_path)
    source = layout.read(tmp_path, "train", Vocabulary("mine", ("abseiling",)))
    assert [clip.id for clip in source.clips] == ["-3B32lodo2M_000059_000069"]
