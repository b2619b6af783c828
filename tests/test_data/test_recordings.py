"""The recordings in the package: table, audio, playback, and the script behind them."""

import csv
from collections import defaultdict

import numpy as np
import pytest
import soundfile

from jaxsed.data.recordings import build, playback, table
from jaxsed.errors import InputError
from jaxsed.labels import vocab

ROWS = table.load_table()
ENTRY = "Files: etc/samples/{}\nCopyright: {}\nSource: http://x\nLicense: {}\n"


def test_every_row_names_its_author_source_and_licence():
    assert len({r.file for r in ROWS}) == len(ROWS) >= 90
    for row in ROWS:
        assert row.author and row.original.endswith(".flac"), row
        assert row.source.startswith(("http://", "https://")), row
        assert row.licence == "CC0-1.0", row
        assert row.role in ("event", "background") and row.split in table.SPLITS
        assert row.play in ("strokes", "whole", "excerpt", "loop"), row


def test_table_and_folder_agree_and_stay_small():
    on_disk = {p.name for p in table.FOLDER.glob("*.flac")}
    assert on_disk == {r.file for r in ROWS}
    everything = [p for p in table.FOLDER.iterdir() if p.is_file()]
    assert sum(p.stat().st_size for p in everything) < 3_000_000


def test_audio_is_16_khz_mono_normalised_and_not_padded_with_silence():
    for row in ROWS:
        info = soundfile.info(table.FOLDER / row.file)
        assert (info.samplerate, info.channels) == (16_000, 1), row.file
        wave = table.read_audio(row.file)
        assert len(wave) <= (8 if row.role == "background" else 6) * 16_000, row.file
        assert np.abs(wave).max() == pytest.approx(build.PEAK, abs=1e-3), row.file
        assert len(build.trim_silence(wave)) >= len(wave) - 1600, row.file


def test_every_class_is_one_of_audioset_strong():
    training, evaluation = map(
        vocab.load, ("audioset_strong_447", "audioset_strong_eval_416")
    )
    for mid, name in table.display_names().items():
        assert training.names[training.index(mid)] == name
    for mid in table.events_by_class("eval"):
        assert mid in evaluation.mids


def test_classes_in_both_splits_by_different_recordings():
    train, evaluation = (table.events_by_class(s) for s in table.SPLITS)
    assert len(set(train) & set(evaluation)) >= 12
    assert set(evaluation) < set(train)
    assert list(train) == list(table.display_names())
    authors_apart = 0
    for mid in evaluation:
        files = {r.file for r in train[mid]} & {r.file for r in evaluation[mid]}
        assert not files
        names = {r.author for r in train[mid]} & {r.author for r in evaluation[mid]}
        authors_apart += not names
    assert authors_apart >= 4
    rooms = [{r.file for r in table.backgrounds(s)} for s in table.SPLITS]
    assert min(len(r) for r in rooms) >= 2 and not rooms[0] & rooms[1]


def test_no_original_is_cut_into_both_splits():
    splits = defaultdict(set)
    for row in ROWS:
        splits[row.original].add(row.split)
    assert all(len(s) == 1 for s in splits.values())


def test_active_part_is_where_the_sound_is():
    wave = np.zeros(16_000, np.float32)
    wave[4000:8000] = 0.5
    wave[8000:10000] = 0.5 * 10 ** (-30 / 20)  # a tail nobody hears
    assert playback.active_part(wave) == (4000, 8000)


def test_loop_has_no_seam():
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(9000).astype(np.float32)
    looped = playback.loop(wave, 40_000, 1234)
    assert looped.shape == (40_000,)
    power = (looped.reshape(-1, 400) ** 2).mean(axis=1)
    assert power.min() > 0.6 and power.max() < 1.5  # equal power across every seam
    ramp = np.linspace(0, 1, 9000, dtype=np.float32)
    assert np.abs(np.diff(playback.loop(ramp, 40_000, 0))).max() < 0.01


@pytest.mark.parametrize("kind", ["strokes", "whole", "excerpt"])
def test_play_gives_events_of_0_2_to_4_seconds_that_fill_their_span(kind):
    rng = np.random.default_rng(1)
    lengths = []
    for row in (r for r in ROWS if r.role == "event" and r.play == kind):
        wave = playback.play(rng, row)
        assert np.isfinite(wave).all() and wave.dtype == np.float32
        level = (wave[: len(wave) // 80 * 80].reshape(-1, 80) ** 2).mean(axis=1)
        # 6 dB of grace: blocks lie differently here, and the last one fades out
        floor = level.max() * 10 ** (-(playback.ACTIVE_DROP_DB + 6) / 10)
        loud = np.flatnonzero(level > floor)
        assert loud[0] <= 2 and loud[-1] >= len(level) - 3, row.file
        lengths.append(len(wave) / 16_000)
    assert min(lengths) > 0.15 and max(lengths) < 5.5
    if kind == "strokes":
        assert max(lengths) > 2 * min(lengths)


def test_speed_moves_pitch():
    def peak_hz(wave):
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 1 << 16))
        return np.argmax(spectrum) * 16_000 / (1 << 16)

    slow, fast = (playback.at_speed("tabla_tun1.flac", p) for p in (-6, 6))
    assert len(slow) / len(fast) == pytest.approx(1.06 / 0.94, rel=1e-3)
    assert peak_hz(fast) / peak_hz(slow) == pytest.approx(1.06 / 0.94, rel=0.02)


def test_only_a_cc0_entry_of_its_own_counts():
    text = "\n".join(
        [
            ENTRY.format("a.flac", "2013 Ann, Bob", "CC0"),
            ENTRY.format("b.flac", "2013 Ann", "MIT"),
            ENTRY.format("*", "2016 Sam", "CC0"),
            ENTRY.format("c.flac", "Cid", "CC0"),
        ]
    )
    assert build.cc0_authors(text) == {"a.flac": "Ann, Bob", "c.flac": "Cid"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of one stereo 44.1 kHz file, and a table of that file."""
    row = {"file": "out.flac", "original": "a.flac", "author": "Ann"}
    row |= {"start_seconds": "0.1", "max_seconds": "0.3"}
    monkeypatch.setattr(build, "read_rows", lambda: [row])
    (tmp_path / build.COPYRIGHT).parent.mkdir(parents=True)
    (tmp_path / build.COPYRIGHT).write_text(ENTRY.format("a.flac", "2013 Ann", "CC0"))
    (tmp_path / build.SAMPLES).mkdir(parents=True)
    tone = 0.2 * np.sin(np.arange(44_100) / 10)[:, None] * [1, 1]
    tone[: 44_100 // 5] = 0  # silence of which 0.1 s is left by start_seconds
    soundfile.write(tmp_path / build.SAMPLES / "a.flac", tone, 44_100)
    return tmp_path


def test_build_converts(package):
    assert build.build(package, package) == [package / "out.flac"]
    wave, rate = soundfile.read(package / "out.flac")
    assert rate == 16_000 and wave.ndim == 1
    assert len(wave) == pytest.approx(0.2 * 16_000, abs=160)
    assert np.abs(wave).max() == pytest.approx(build.PEAK, abs=1e-3)


def test_build_refuses_another_author_or_licence_and_missing_files(package):
    copyright_file = package / build.COPYRIGHT
    for entry in [("a.flac", "2013 Eve", "CC0"), ("a.flac", "2013 Ann", "MIT")]:
        copyright_file.write_text(ENTRY.format(*entry))
        with pytest.raises(InputError, match=r"a\.flac: no CC0 entry by 'Ann'"):
            build.build(package, package)
    copyright_file.write_text(ENTRY.format("a.flac", "2013 Ann", "CC0"))
    (package / build.SAMPLES / "a.flac").unlink()
    with pytest.raises(InputError, match="missing"):
        build.build(package, package)
    copyright_file.unlink()
    with pytest.raises(InputError, match="unpacked into"):
        build.build(package, package)
    assert not (package / "out.flac").exists()


def test_table_is_plain_csv():
    with table.TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    assert {len(r) for r in rows} == {len(header)}
    assert len(table.content_hash()) == 64
