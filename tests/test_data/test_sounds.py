import os

import pytest

from jaxsed.data.joined import open_data
from jaxsed.data.layouts import sounds as layout
from jaxsed.data.layouts.table_splits import ShareOptions
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

from .clip_folders import write_sound, write_text
from .test_prepare_command import run

LIBRISPEECH = (
    "train-clean-100/19/19-1.flac",
    "dev-clean/2/2-1.flac",
    "test-clean/3.ogg",
)


def folder(root, names):
    for k, name in enumerate(names):
        write_sound(root / name, 0.5 + 0.1 * k)
    write_text(root / "notes.txt", "of no sound")
    return root


def split_of(root, **options):
    options = ShareOptions(**options)
    return {
        clip.id: split
        for split in layout.available_splits(root, options)
        for clip in layout.read(root, split, options=options).clips
    }


def test_recordings_without_a_word_become_data_without_labels(tmp_path, capsys):
    names = [f"day{k % 2}/{k}.wav" for k in range(6)] + ["day0/0.flac"]
    root = folder(tmp_path / "mine", names)
    (root / "day1" / "7.wav").write_bytes(b"RIFF, and nothing else")
    out = tmp_path / "out"
    arguments = ("sounds", root, "--out", out, "--workers", 1, "--eval-share", 0.3)
    assert run(*arguments) == 3
    said = capsys.readouterr().out
    data = [PreparedData(out / split) for split in ("train", "eval")]
    assert [len(each) for each in data] in ([5, 1], [4, 2])
    assert f"{len(data[0])} of 5 clips, 0.00 h, without labels" in said
    assert "undecodable" in said and "duplicate_audio" in said
    ids = sorted(clip for each in data for clip in each.ids)
    assert ids == ["day0-0", "day0-2", "day0-4", "day1-1", "day1-3", "day1-5"]
    for each in data:
        assert each.manifest["annotation"] == "none"
        assert all(each.events(row) == [] for row in range(len(each)))


def test_names_that_are_no_text_are_no_obstacle(tmp_path):
    root = folder(tmp_path / "mine", ["0.wav", "1.wav", "2.wav"])
    (root / "2.wav").rename(root / os.fsdecode(b"\xe9t\xe9.wav"))
    (root / os.fsdecode(b"broken\xff.wav")).write_bytes(b"RIFF")
    out = tmp_path / "out"
    assert run("sounds", root, "--out", out, "--workers", 1, "--eval-share", 0.3) == 3
    data = [PreparedData(out / split) for split in ("train", "eval")]
    ids = sorted(clip for each in data for clip in each.ids)
    assert ids == ["0", "1", "\ufffdt\ufffd"]
    told = [(out / split / "problems.tsv").read_text() for split in ("train", "eval")]
    assert "broken\ufffd.wav: not a sound file" in "".join(told)


def test_names_say_the_splits_if_all_do(tmp_path):
    root = folder(tmp_path / "LibriSpeech", LIBRISPEECH)
    expected = {
        "train-clean-100-19-19-1": "train",
        "dev-clean-2-2-1": "validation",
        "test-clean-3": "eval",
    }
    assert split_of(root) == expected
    with pytest.raises(InputError, match="says itself what the splits are"):
        split_of(root, eval_share=0.5)
    write_sound(root / "book.wav", 0.5)
    assert set(split_of(root, seed=1).values()) == {"train", "eval"}


def test_a_share_is_for_validation(tmp_path):
    root = folder(tmp_path / "mine", [f"{k}.wav" for k in range(10)])
    found = split_of(root, eval_share=0.2, validation_share=0.3, seed=4)
    counts = [list(found.values()).count(split) for split in layout.SPLITS]
    assert counts == [5, 3, 2]
    assert found == split_of(root, eval_share=0.2, validation_share=0.3, seed=4)


def test_what_cannot_be_is_told(tmp_path):
    root = folder(tmp_path / "mine", ["a.wav", "b.wav"])
    with pytest.raises(InputError, match="layout sounds reads no labels"):
        layout.read(root, "train", Vocabulary("mine", ("Dog",)))
    with pytest.raises(InputError, match="no recording of validation"):
        layout.read(root, "validation")
    with pytest.raises(InputError, match="nothing of layout sounds; expected sound"):
        run("sounds", folder(tmp_path / "none", ()), "--out", tmp_path / "out")
    with pytest.raises(InputError, match="cannot be split at random"):
        layout.available_splits(folder(tmp_path / "one", ["a.wav"]))


def test_what_reads_labels_refuses_them(tmp_path):
    root = folder(tmp_path / "mine", ["a.wav", "b.wav"])
    run("sounds", root, "--out", tmp_path / "out", "--workers", 1)
    train = tmp_path / "out" / "train"
    assert len(open_data(train, reads_labels=False)) == 1
    with pytest.raises(InputError, match="sounds without labels, from which pre-train"):
        open_data(train)
