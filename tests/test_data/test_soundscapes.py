"""Scenes: their truth, their statistics, and the layout they are written in."""

import csv
import json
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
import soundfile

from jaxsed.data import soundscapes
from jaxsed.data.recordings import scenes, table
from jaxsed.data.recordings.playback import ACTIVE_DROP_DB
from jaxsed.errors import InputError

RATE = 16_000
TRAIN, EVAL = 24, 6


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out = tmp_path_factory.mktemp("soundscapes") / "a scene über all"
    return soundscapes.write_dataset(out, TRAIN, EVAL, seed=3)


@pytest.fixture(scope="module")
def rendered():
    return [
        scenes.render_scene(0, split, i) for split in table.SPLITS for i in range(25)
    ]


@pytest.fixture(scope="module")
def truth():
    """The events of 300 training and 150 evaluation scenes."""
    counts = {"train": 300, "eval": 150}
    return {
        split: [scenes.scene_events(0, split, i) for i in range(n)]
        for split, n in counts.items()
    }


def read_tsv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")}


def rms(wave):
    return np.sqrt(np.mean(np.square(wave, dtype=np.float64)))


def active_seconds(events_of_scenes):
    seconds = defaultdict(float)
    for event in (e for events in events_of_scenes for e in events):
        seconds[event.mid] += event.offset - event.onset
    return seconds


# --- scenes ---------------------------------------------------------------------------


def test_a_scene_is_ten_seconds_with_one_to_five_events_in_order(rendered):
    for scene in rendered:
        assert scene.wave.shape == (160_000,) and scene.wave.dtype == np.int16
        assert 1 <= len(scene.events) <= 5
        onsets = [e.onset for e in scene.events]
        assert onsets == sorted(onsets)
        assert all(0 <= e.onset < e.offset <= 10 for e in scene.events)
    assert len({len(s.events) for s in rendered}) == 5


def test_the_truth_is_known_without_mixing():
    for split in table.SPLITS:
        events = scenes.scene_events(2, split, 4)
        assert events == scenes.render_scene(2, split, 4).events


def test_parts_add_up_without_clipping(rendered):
    for scene in rendered:
        mix = scene.background + scene.stems.sum(axis=0)
        assert np.abs(mix).max() <= scenes.PEAK + 1e-4
        assert np.abs(mix * 32767 - scene.wave).max() <= 0.51


def test_events_are_0_to_25_db_over_the_background(rendered):
    measured = []
    for scene in rendered:
        for event, stem in zip(scene.events, scene.stems):
            part = stem[round(event.onset * RATE) : round(event.offset * RATE)]
            snr_db = 20 * np.log10(rms(part) / rms(scene.background))
            assert snr_db == pytest.approx(event.snr_db, abs=0.1)
            measured.append(snr_db)
    assert min(measured) >= -0.1 and max(measured) <= 25.1
    assert min(measured) < 4 and max(measured) > 21


def test_boundaries_are_where_the_energy_is(rendered):
    for scene in rendered:
        for event, stem in zip(scene.events, scene.stems):
            first, last = round(event.onset * RATE), round(event.offset * RATE)
            slack = 8  # times are rounded to milliseconds
            assert not stem[: max(0, first - slack)].any()
            assert not stem[last + slack :].any()
            part = stem[first:last]
            level = (part[: len(part) // 80 * 80].reshape(-1, 80) ** 2).mean(1)
            # 6 dB of grace: blocks lie differently here, and the last one fades out.
            floor = level.max() * 10 ** (-(ACTIVE_DROP_DB + 6) / 10)
            loud = np.flatnonzero(level > floor)
            assert loud[0] <= 2 and loud[-1] >= len(level) - 3, event


def test_a_class_never_overlaps_itself_but_others_do(truth):
    overlaps = 0
    for events in truth["train"] + truth["eval"]:
        for i, a in enumerate(events):
            for b in events[i + 1 :]:
                overlap = a.onset < b.offset and b.onset < a.offset
                assert not (overlap and a.mid == b.mid)
                overlaps += overlap
    assert overlaps > 50


def test_scenes_depend_on_seed_split_and_index_alone():
    def wave(*key):
        return scenes.render_scene(*key).wave.tobytes()

    assert wave(5, "train", 7) == wave(5, "train", 7)
    keys = [(5, "train", 7), (6, "train", 7), (5, "eval", 7), (5, "train", 8)]
    assert len({wave(*key) for key in keys}) == 4


def test_splits_use_their_own_recordings(truth):
    for split, events_of_scenes in truth.items():
        heard = {e.file for events in events_of_scenes for e in events}
        own = {r.file for rs in table.events_by_class(split).values() for r in rs}
        assert heard <= own
        assert len(heard) > 0.9 * len(own)


def test_training_classes_are_imbalanced_as_in_audioset(truth):
    seconds = active_seconds(truth["train"])
    assert seconds.keys() == table.display_names().keys()
    assert max(seconds.values()) >= 30 * min(seconds.values())


def test_every_evaluation_class_has_several_events(truth):
    counts = Counter(e.mid for events in truth["eval"] for e in events)
    assert counts.keys() == table.events_by_class("eval").keys()
    assert min(counts.values()) >= 8
    seconds = active_seconds(truth["eval"])
    assert max(seconds.values()) < 15 * min(seconds.values())


def test_ids_look_like_audioset_and_hold_its_traps():
    ids = [scenes.segment_id(0, s, i) for s in table.SPLITS for i in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w-]{11}_\d+", i, re.ASCII) for i in ids)
    videos = [i[:11] for i in ids[:20]]
    assert {v[-1] for v in videos} >= set("mp3")
    assert any(v.startswith("-") for v in videos)


# --- the data set ---------------------------------------------------------------------


def test_layout(dataset):
    assert sorted(p.name for p in dataset.iterdir()) == [
        "audio",
        "audioset_eval_durations.tsv",
        "audioset_eval_strong.tsv",
        "audioset_train_durations.tsv",
        "audioset_train_strong.tsv",
        "mid_to_display_name.tsv",
        "soundscapes.json",
    ]
    names = (dataset / "mid_to_display_name.tsv").read_text(encoding="utf-8")
    names = dict(line.split("\t") for line in names.splitlines())
    assert names == table.display_names()
    for split, clips in (("train", TRAIN), ("eval", EVAL)):
        rows = read_tsv(dataset / f"audioset_{split}_strong.tsv")
        columns = ["segment_id", "start_time_seconds", "end_time_seconds", "label"]
        assert list(rows[0]) == columns
        ids = [scenes.segment_id(3, split, i) for i in range(clips)]
        assert list(dict.fromkeys(r["segment_id"] for r in rows)) == ids
        for row in rows:
            assert row["label"] in names
            for column in columns[1:3]:
                assert re.fullmatch(r"\d+\.\d{3}", row[column])
        durations = read_tsv(dataset / f"audioset_{split}_durations.tsv")
        assert durations == [{"filename": f"{i}.flac", "duration": "10.0"} for i in ids]
        audio = dataset / "audio" / split
        assert sorted(p.name for p in audio.iterdir()) == sorted(
            f"{i}.flac" for i in ids
        )


def test_files_hold_the_scenes_and_the_tsv_their_events(dataset):
    rows = read_tsv(dataset / "audioset_eval_strong.tsv")
    for index in range(EVAL):
        scene = scenes.render_scene(3, "eval", index)
        path = dataset / "audio" / "eval" / f"{scene.segment_id}.flac"
        wave, rate = soundfile.read(path, dtype="int16")
        assert rate == RATE and np.array_equal(wave, scene.wave)
        written = [
            (float(r["start_time_seconds"]), float(r["end_time_seconds"]), r["label"])
            for r in rows
            if r["segment_id"] == scene.segment_id
        ]
        assert written == [(e.onset, e.offset, e.mid) for e in scene.events]


def test_same_bytes_again_and_from_two_processes(dataset, tmp_path):
    again = soundscapes.write_dataset(tmp_path / "x", TRAIN, EVAL, seed=3, workers=2)
    assert tree(again) == tree(dataset)


def test_a_scene_does_not_depend_on_the_number_of_scenes(dataset, tmp_path):
    small = soundscapes.write_dataset(tmp_path / "x", 2, 1, seed=3)
    for path in (small / "audio").rglob("*.flac"):
        assert path.read_bytes() == (dataset / path.relative_to(small)).read_bytes()


@pytest.mark.parametrize("audio_format", ["wav", "ogg"])
def test_other_formats(audio_format, tmp_path):
    out = soundscapes.write_dataset(tmp_path / "x", 1, 1, audio_format=audio_format)
    (path,) = (out / "audio" / "train").iterdir()
    assert path.suffix == f".{audio_format}"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, 160_000)
    (row,) = read_tsv(out / "audioset_train_durations.tsv")
    assert row["filename"] == path.name


# --- writing twice, wrong use, trouble ------------------------------------------------


def test_the_same_data_set_is_recognised(dataset):
    before = {p: p.stat().st_mtime_ns for p in dataset.rglob("*")}
    assert soundscapes.write_dataset(dataset, TRAIN, EVAL, seed=3) == dataset
    assert {p: p.stat().st_mtime_ns for p in dataset.rglob("*")} == before


def test_another_data_set_is_refused_and_left_alone(dataset):
    before = tree(dataset)
    with pytest.raises(InputError, match="seed 3, not 4"):
        soundscapes.write_dataset(dataset, TRAIN, EVAL, seed=4)
    with pytest.raises(InputError, match="train_clips 24, not 25"):
        soundscapes.write_dataset(dataset, TRAIN + 1, EVAL, seed=3)
    assert tree(dataset) == before


def test_a_strange_folder_or_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for out in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(InputError, match="not a folder of soundscapes"):
            soundscapes.write_dataset(out, 1, 1)
    (tmp_path / "soundscapes.json").write_text("[]")
    with pytest.raises(InputError, match="not a folder of soundscapes"):
        soundscapes.write_dataset(tmp_path, 1, 1)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_data_set_of_another_version_is_refused(tmp_path, monkeypatch):
    out = soundscapes.write_dataset(tmp_path / "x", 1, 1)
    monkeypatch.setattr(soundscapes, "VERSION", soundscapes.VERSION + 1)
    with pytest.raises(InputError, match="another version"):
        soundscapes.write_dataset(out, 1, 1)


def test_a_data_set_that_lost_a_file_is_named(tmp_path):
    out = soundscapes.write_dataset(tmp_path / "x", 2, 1)
    next((out / "audio" / "train").iterdir()).unlink()
    with pytest.raises(InputError, match="1 of 2 files"):
        soundscapes.write_dataset(out, 2, 1)


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(soundscapes.soundfile, "write", full)
    with pytest.raises(InputError, match="No space left"):
        soundscapes.write_dataset(tmp_path / "x", 2, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_filled(tmp_path):
    assert soundscapes.write_dataset(tmp_path, 1, 0) == tmp_path
    assert json.loads((tmp_path / "soundscapes.json").read_text())["train_clips"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"train_clips": -5},
        {"eval_clips": 1.5},
        {"audio_format": "mp3"},
        {"workers": 0},
    ],
)
def test_wrong_arguments_are_named(wrong, tmp_path):
    (name,) = wrong
    with pytest.raises(InputError, match=name):
        soundscapes.write_dataset(tmp_path / "x", **wrong)
    assert not (tmp_path / "x").exists()


def test_command_line(tmp_path, capsys):
    argv = [str(tmp_path / "x"), "--train", "2", "--eval", "1", "--format", "wav"]
    assert soundscapes.main(argv) == 0
    assert "2 scenes to train on, 1 to evaluate on" in capsys.readouterr().out
    assert soundscapes.main([*argv, "--seed", "9"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "seed 0, not 9" in error
