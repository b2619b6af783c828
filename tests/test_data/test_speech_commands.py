import pytest

from jaxsed.data.layouts import speech_commands as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError

from .clip_folders import write_sound, write_text

UTTERANCES = {
    "train": ("bed/0a_nohash_0", "bed/0b_nohash_0", "yes/0a_nohash_1"),
    "validation": ("bed/0c_nohash_0",),
    "eval": ("no/0d_nohash_0", "yes/0d_nohash_0"),
}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    for paths in UTTERANCES.values():
        for path in paths:
            write_sound(root / f"{path}.wav", 0.9)
    write_sound(root / "_background_noise_" / "pink_noise.wav")
    for split, name in (("validation", "validation"), ("eval", "testing")):
        text = "".join(f"{path}.wav\n" for path in UTTERANCES[split])
        write_text(root / f"{name}_list.txt", text)
    return root


@pytest.mark.parametrize("split", layout.SPLITS)
def test_as_released(source, split):
    assert layout.available_splits(source) == list(layout.SPLITS)
    read = layout.read(source, split)
    paths = UTTERANCES[split]
    assert [clip.id for clip in read.clips] == [
        path.replace("/", "-") for path in paths
    ]
    assert [clip.audio.name for clip in read.clips] == [f"{path}.wav" for path in paths]
    words = [clip.events[0].label for clip in read.clips]
    assert words == [path.split("/")[0] for path in paths]
    assert read.vocabulary.names == ("bed", "no", "yes")
    assert (read.labels, read.problems) == ("single", ())


def test_what_the_lists_name_and_is_not_there_is_missing(source, tmp_path):
    (source / "no/0d_nohash_0.wav").unlink()
    manifest = prepare(layout.read(source, "eval"), tmp_path / "out")
    assert manifest["problems"] == {"missing": 1}
    assert [entry["missing"] for entry in manifest["classes"]] == [0, 1, 0]
    assert list(PreparedData(tmp_path / "out").ids) == ["yes-0d_nohash_0"]


def test_broken_lines(source):
    write_text(source / "testing_list.txt", "\ufeffno/0d_nohash_0.wav\r\n\r\nyes\r\n")
    read = layout.read(source, "eval")
    assert [(p.kind, p.detail) for p in read.problems] == [
        ("unreadable_line", "testing_list.txt, line 3: 'yes' is not WORD/UTTERANCE.wav")
    ]
    assert layout.read(source, "validation").problems == ()
    assert "yes-0d_nohash_0" in [clip.id for clip in layout.read(source, "train").clips]


def test_what_is_not_there(source, tmp_path):
    with pytest.raises(InputError, match="lacks validation_list"):
        layout.read(tmp_path, "eval")
    write_text(source / "validation_list.txt", "")
    with pytest.raises(InputError, match=r"nothing of validation \(validation_list"):
        layout.read(source, "validation")
    for path in UTTERANCES["train"] + UTTERANCES["validation"]:
        (source / f"{path}.wav").unlink()
    with pytest.raises(InputError, match=r"nothing of train \(no WORD/UTTERANCE"):
        layout.read(source, "train")
