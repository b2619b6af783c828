from pathlib import Path

import pytest

from jaxsed.data.layouts import desed as layout
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event

from .clip_folders import write_sound, write_text
from .event_folders import DESED_HEADER, write_desed
from .test_prepare_command import run


@pytest.fixture
def desed(tmp_path):
    return write_desed(tmp_path / "dataset")


def prepared(source, split, out):
    manifest = prepare(layout.read(source, split), out)
    return manifest, PreparedData(out)


def test_the_splits_and_their_sounds(desed):
    (desed / "metadata/train/weak.tsv").rename(desed / "weak.tsv")
    without_weak = [split for split in layout.SPLITS if split != "train_weak"]
    without_weak.remove("validation_synthetic")
    assert layout.available_splits(desed) == without_weak
    (desed / "weak.tsv").rename(desed / "metadata/train/weak.tsv")
    sounds = {
        split: [clip.audio.name for clip in layout.read(desed, split).clips]
        for split in layout.available_splits(desed)
    }
    assert sounds["train_weak"] == ["audio/train/weak/Yw_1.000_11.000.wav"]
    assert sounds["eval"] == ["public/audio/eval/public/p_1_2.wav"]
    synthetic = "dcase_synth/audio/train/synthetic21_train/soundscapes/1.wav"
    assert sounds["train_synthetic"] == [synthetic]
    hashes = {
        layout.read(desed, split).vocabulary.hash
        for split in layout.available_splits(desed)
    }
    assert len(hashes) == 1 and len(layout.read(desed, "eval").vocabulary) == 10


def test_sounds_are_found_from_the_folder_itself(desed, monkeypatch):
    monkeypatch.chdir(desed)
    (clip,) = layout.read(Path(), "train_weak").clips
    assert clip.audio.name == "audio/train/weak/Yw_1.000_11.000.wav"


def test_events_and_clips_without_any(desed, tmp_path):
    manifest, data = prepared(desed, "train_strong", tmp_path / "out")
    assert (manifest["annotation"], manifest["problems"]) == ("frames", {})
    assert list(data.ids) == ["Ya_30.000_40.000", "Yb_0.000_10.000"]
    assert data.events(0) == [Event(0.1, 0.3, 8)] and data.events(1) == []
    manifest, data = prepared(desed, "validation", tmp_path / "validation")
    assert manifest["problems"] == {}
    assert list(data.ids) == ["Ysilent_0.000_10.000", "Yv_0.000_10.000"]
    assert data.events(0) == [] and len(data.events(1)) == 1


def test_all_splits_with_one_command(desed, tmp_path):
    splits = layout.available_splits(desed)
    assert run("desed", desed, "--out", tmp_path / "out", "--workers", 1) == 0
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == sorted(splits) and len(folders) == 5
    (desed / "public/audio/eval/public/p_1_2.wav").unlink()
    arguments = ("desed", desed, "--out", tmp_path / "partly", "--workers", 1)
    assert run(*arguments) == 3
    assert not (tmp_path / "partly" / "eval").exists()


def test_weak_labels_are_of_clips(desed, tmp_path):
    manifest, data = prepared(desed, "train_weak", tmp_path / "out")
    assert (manifest["annotation"], manifest["labels"]) == ("clips", "multi")
    assert data.events(0) == [Event(0.0, 0.4, 4), Event(0.0, 0.4, 8)]


def test_resampled_copies_are_used_where_there_is_nothing_else(desed):
    folder = desed / "audio/train/strong_label_real_16k"
    write_sound(folder / "Ya_30.000_40.000.wav", 0.4)
    (desed / "audio/train/strong_label_real/Yb_0.000_10.000.wav").rename(
        folder / "Yb_0.000_10.000.wav"
    )
    source = layout.read(desed, "train_strong")
    folders = [clip.audio.name.split("/")[2] for clip in source.clips]
    assert folders == ["strong_label_real", "strong_label_real_16k"]
    assert source.problems == ()


def test_scaper_leaves_more_than_the_soundscapes(desed):
    folder = desed / "dcase_synth/audio/train/synthetic21_train/soundscapes"
    write_text(folder / "1.jams", "{}")
    write_sound(folder / "1_events" / "1.wav")
    (clip,) = layout.read(desed, "train_synthetic").clips
    assert clip.audio.name.endswith("soundscapes/1.wav")
    assert layout.read(desed, "train_synthetic").problems == ()


def test_what_is_wrong_is_counted(desed, tmp_path):
    rows = "a.wav\t0.1\t0.2\tSpeach\na.wav\t0.3\t0.2\tDog\na.wav\t0.1\t9\tDog\n"
    rows += "b.wav\tx\t1.0\tDog\n\t1\t2\tDog\nc.wav\t0.1\t0.2\tDog\nd.wav\t0.1\t0.2\t\n"
    table = write_text(
        desed / "metadata/train/audioset_strong.tsv", DESED_HEADER + rows
    )
    for name in "abd":
        write_sound(desed / "audio/train/strong_label_real" / f"{name}.wav", 0.4)
    manifest, data = prepared(desed, "train_strong", tmp_path / "out")
    assert manifest["problems"] == {
        "missing": 1,  # c
        "no_events": 2,  # b, d: broken is not the same as silent
        "unreadable_line": 3,
        "unknown_label": 1,
        "reversed": 1,
        "outside_clip": 1,
    }
    assert data.events(0) == [Event(0.1, 0.4, 4)]
    problems = (tmp_path / "out" / "problems.tsv").read_text()
    assert "did you mean 'Speech'?" in problems
    assert f"{table.name}, line 5: times 'x', '1.0' are not numbers" in problems
    assert f"{table.name}, line 6: too few values" in problems
    assert f"{table.name}, line 8: no label" in problems


def test_durations_that_are_none(desed):
    durations = desed / "metadata/validation/validation_durations.tsv"
    write_text(durations, "filename\tduration\nYv_0.000_10.000.wav\tlong\n")
    source = layout.read(desed, "validation")
    (problem,) = source.problems
    assert problem.detail == "validation_durations.tsv, line 2: no duration in seconds"
    assert len(source.clips) == 1


def test_tables_that_cannot_be_used(desed):
    with pytest.raises(InputError, match=r"expected one .*synthetic\*.*, found none"):
        layout.read(desed, "validation_synthetic")
    other = desed / "metadata/train/synthetic20/soundscapes.tsv"
    write_text(other, DESED_HEADER)
    with pytest.raises(InputError, match=r"synthetic20.*, dcase_synth"):
        layout.read(desed, "train_synthetic")
    write_text(desed / "metadata/train/weak.tsv", "filename\tevent_labels\n")
    with pytest.raises(InputError, match=r"weak\.tsv has no clip"):
        layout.read(desed, "train_weak")
    write_text(desed / "metadata/validation/validation.tsv", "filename\tonset\n")
    with pytest.raises(InputError, match="no column 'offset'"):
        layout.read(desed, "validation")
