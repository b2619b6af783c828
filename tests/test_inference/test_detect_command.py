import csv
import errno
import json
import os

import numpy as np
import pytest
import soundfile

from jaxsed import cli, locks
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.inference import detector as detectors
from jaxsed.inference import stream
from tests.test_inference.sounds import noise_bursts, write_sound


@pytest.fixture
def detect(detector, model_folder, monkeypatch, tmp_path, capsys):
    """Runs `jaxsed detect`; gives the exit status, stdout and stderr."""
    # One detector for all tests: compiling is most of the time.
    monkeypatch.setattr(detectors, "load", lambda path, **_: detector)

    def run(*arguments, out=tmp_path / "out"):
        argv = ["detect", *map(str, arguments), "--weights", str(model_folder)]
        status = cli.main([*argv, "--out", str(out)])
        return (status, *capsys.readouterr())

    return run


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def files_below(folder):
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name != locks.NAME
    )


def test_a_file_is_detected(detect, detector, tmp_path):
    path = write_sound(tmp_path / "a.wav", 12.35)
    status, out, _ = detect(path, "--threshold", 0.6)
    assert status == 0
    table = detector.detect(path, threshold=0.6)
    rows = rows_of(tmp_path / "out" / "a.wav.tsv")
    assert rows == rows_of(tmp_path / "out" / "detections.tsv")
    assert [row["event_label"] for row in rows] == table.event_label.tolist()
    onsets = [float(row["onset"]) for row in rows]
    np.testing.assert_allclose(onsets, table.onset, atol=6e-4)
    assert {row["filename"] for row in rows} == {"a.wav"}
    assert len(rows) > 1 and f"1 file done, {len(rows)} events" in out


def test_a_real_run_from_the_shell_loads_the_model_itself(
    tmp_path, model_folder, capsys
):
    path = write_sound(tmp_path / "a.wav", 1)
    argv = ["detect", path, "--weights", model_folder, "--out", tmp_path / "out"]
    assert cli.main([*map(str, argv), "--batch-size", "1", "--overlap", "0.5"]) == 0
    assert "tiny_atst_frame, 4 classes of four, stage strong, licence CC0" in (
        capsys.readouterr().err
    )


def test_a_model_without_trained_heads_is_said_to_guess(
    detect, detector, tmp_path, monkeypatch
):
    path = write_sound(tmp_path / "a.wav", 1)
    assert "warning" not in detect(path)[2]
    made = {"fresh": {"strong_head/kernel": "drawn with seed 0"}}
    monkeypatch.setitem(detector.description, "provenance", made)
    assert (
        "its strong_head was never trained, so what it detects is chance"
        in detect(path)[2]
    )


def test_folders_are_mirrored_and_namesakes_kept_apart(detect, tmp_path):
    sounds = tmp_path / "sounds"
    names = ["a.wav", "a.flac", "sub/a.wav", "sub/déjà vu ☃.ogg", "sub/deep/B.WAV"]
    for seed, name in enumerate(names):
        kind = {"ogg": "OGG", "flac": "FLAC"}.get(name.rpartition(".")[2], "WAV")
        write_sound(sounds / name, 3, seed=seed, format=kind)
    (sounds / "notes.txt").write_text("no sound")
    write_sound(sounds / ".hidden.wav", 1)
    status, _, _ = detect(sounds)
    assert status == 0
    expected = [f"{name}.tsv" for name in names] + ["detections.tsv", "journal.jsonl"]
    assert files_below(tmp_path / "out") == sorted(expected)
    combined = rows_of(tmp_path / "out" / "detections.tsv")
    each = [row for n in sorted(names) for row in rows_of(tmp_path / f"out/{n}.tsv")]
    assert combined == each and len(combined) > 5


def test_files_of_different_folders_are_named_from_where_they_meet(detect, tmp_path):
    one = write_sound(tmp_path / "in" / "x" / "a.wav", 1)
    two = write_sound(tmp_path / "in" / "y" / "a.wav", 1)
    assert detect(one, two, one)[0] == 0
    assert (tmp_path / "out" / "x" / "a.wav.tsv").exists()
    assert (tmp_path / "out" / "y" / "a.wav.tsv").exists()


def test_all_formats_scores_and_picture(detect, tmp_path):
    write_sound(tmp_path / "in" / "a.wav", 3)
    status, _, _ = detect(
        *(tmp_path / "in", "--format", "tsv,json,csv,audacity,raven"),
        *("--scores", "--report", "--median", 0),
    )
    assert status == 0
    assert files_below(tmp_path / "out") == [
        "a.wav.audacity.txt",
        "a.wav.csv",
        "a.wav.json",
        "a.wav.png",
        "a.wav.raven.txt",
        "a.wav.tsv",
        "detections.tsv",
        "journal.jsonl",
        "scores/a.tsv",
    ]
    scores = ScoreTables(tmp_path / "out" / "scores")
    assert scores.ids == ["a"]
    document = json.loads((tmp_path / "out" / "a.wav.json").read_text())
    assert document["duration"] == 3.0
    assert document["settings"]["median_seconds"] == 0


def test_post_processing_is_part_of_the_settings(detect, tmp_path):
    path = write_sound(tmp_path / "a.wav", 3)
    document = tmp_path / "out" / "a.wav.json"
    arguments = [path, "--format", "json"]
    for others, expected in (
        ([], None),
        (["--postprocess", "hear", "--min-seconds", 0.2], ("hear", 0.2)),
        (["--postprocess", "sebb"], ("sebb", 0.0)),
        (["--min-seconds", 0.3], ("median", 0.3)),
    ):
        status, out, _ = detect(*arguments, *others)
        assert status == 0 and "1 file done" in out
        chosen = json.loads(document.read_text())["settings"].get("postprocess")
        found = chosen and (chosen["method"], chosen["min_seconds"])
        assert found == expected
    status, _, error = detect(*arguments, "--postprocess", "x")
    assert status == 1 and "unknown postprocess" in error


def test_scores_as_npz_and_of_namesakes(detect, tmp_path):
    write_sound(tmp_path / "in" / "a.wav", 1)
    write_sound(tmp_path / "in" / "a.flac", 1)
    assert detect(tmp_path / "in", "--scores", "--scores-format", "npz")[0] == 0
    names = os.listdir(tmp_path / "out" / "scores")
    assert sorted(names) == ["a.flac.npz", "a.wav.npz"]
    with np.load(tmp_path / "out" / "scores" / "a.wav.npz") as archive:
        assert archive["scores"].shape == (25, 4)


def bad_inputs(folder):
    """Everything that the world calls a sound file. Returns the names of the usable."""
    (folder / "zero length.wav").touch()
    whole = write_sound(folder / "truncated.wav", 5)
    whole.write_bytes(whole.read_bytes()[:50_000])
    header = write_sound(folder / "header only.wav", 1)
    header.write_bytes(header.read_bytes()[:30])
    (folder / "text.wav").write_text("this is no sound\n" * 99)
    write_sound(folder / "misnamed.mp3", 2, format="FLAC")
    write_sound(folder / "short 0.3 s.wav", 0.3)
    soundfile.write(folder / "silence.wav", np.zeros(32_000), 16_000)
    nan = noise_bursts(3)
    nan[20_000] = np.nan
    soundfile.write(folder / "nan.wav", nan, 16_000, subtype="FLOAT")
    soundfile.write(folder / "no samples.wav", np.zeros(0), 16_000)
    write_sound(folder / "surround 5.1.wav", 2, 48_000, channels=6)
    write_sound(folder / "telephone 8 kHz.wav", 2, 8_000)
    write_sound(folder / "größe ☃\t日本.wav", 1)
    odd = write_sound(folder / "odd.wav", 1)
    odd.rename(folder / os.fsdecode(b"not unicode \xff.wav"))
    return {
        "truncated.wav",
        "misnamed.mp3",
        "short 0.3 s.wav",
        "silence.wav",
        "surround 5.1.wav",
        "telephone 8 kHz.wav",
        "größe ☃\t日本.wav",
        os.fsdecode(b"not unicode \xff.wav"),
    }


def test_a_file_that_is_cut_off_is_used_and_named(detect, tmp_path):
    whole = write_sound(tmp_path / "a.flac", 6, format="FLAC")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for text in ("1 file done", "1 were finished already"):
        status, out, err = detect(whole)
        assert status == 3 and text in out
        assert f"{whole}: cut off after " in err
        assert "cut off" in (tmp_path / "out" / "problems.txt").read_text()


def test_bad_files_are_named_and_the_rest_is_done(detect, tmp_path):
    sounds = tmp_path / "in"
    sounds.mkdir()
    usable = bad_inputs(sounds)
    missing = sounds / "missing.wav"
    status, out, err = detect(sounds, missing, "--threshold", 0, "--report")
    assert status == 3
    assert f"{len(usable)} files done" in out
    done = {name for name in files_below(tmp_path / "out") if name.endswith(".tsv")}
    assert done == {f"{name}.tsv" for name in usable} | {"detections.tsv"}
    pictures = [n for n in files_below(tmp_path / "out") if n.endswith(".png")]
    assert len(pictures) == len(usable)
    assert "7 problems" in err
    problems = (tmp_path / "out" / "problems.txt").read_text()
    assert problems.count("\n") == 7
    for name, reason in (
        ("zero length.wav", "empty file"),
        ("header only.wav", ""),
        ("text.wav", "not a sound file"),
        ("nan.wav", "NaN"),
        ("no samples.wav", "no samples"),
        ("truncated.wav", "cut off after 1.56 s"),
        ("missing.wav", "cannot be opened"),
    ):
        (line,) = [line for line in problems.splitlines() if name in line]
        assert reason in line
        assert name in err
    for row in rows_of(tmp_path / "out" / "short 0.3 s.wav.tsv"):
        assert float(row["offset"]) <= 0.3
    assert "Traceback" not in err


def test_only_bad_files_is_a_failure(detect, tmp_path):
    (tmp_path / "bad.m4a").write_text("x")
    status, out, err = detect(tmp_path / "bad.m4a")
    assert status == 1 and "0 files done" in out
    assert "bad.m4a: not a sound" in err and "convert it: ffmpeg -i a.m4a a.flac" in err
    assert rows_of(tmp_path / "out" / "detections.tsv") == []


def test_no_files_is_a_failure(detect, tmp_path):
    (tmp_path / "in").mkdir()
    status, _, err = detect(tmp_path / "in")
    assert status == 1 and "no sound file in" in err and "flac" in err
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_beside_a_full_one_is_a_problem(detect, tmp_path):
    (tmp_path / "empty").mkdir()
    write_sound(tmp_path / "full" / "a.wav", 1)
    status, _, err = detect(tmp_path / "empty", tmp_path / "full")
    assert status == 3 and "empty: no sound file in this folder" in err


def test_nothing_found_is_said_with_the_best_score(detect, tmp_path):
    soundfile.write(tmp_path / "quiet.wav", np.zeros(32_000), 16_000)
    status, out, _ = detect(
        tmp_path / "quiet.wav", "--threshold", 0.9999, "--format", "csv,json"
    )
    assert status == 0
    assert (
        "no event above the threshold 0.9999 in 1 of them; best score there: 0." in out
    )
    assert "in quiet.wav" in out
    odd = tmp_path / os.fsdecode(b"\xff.wav")
    (tmp_path / "quiet.wav").rename(odd)
    assert "\\udcff.wav" in detect(odd, "--threshold", 0.9999)[1]
    text = (tmp_path / "out" / "quiet.wav.csv").read_text()
    assert text == "filename,onset,offset,event_label,score\n"


@pytest.fixture
def calls(monkeypatch):
    seen = []
    original = stream.detect

    def counted(detector, path, *others, **options):
        seen.append(os.path.basename(path))
        return original(detector, path, *others, **options)

    monkeypatch.setattr(stream, "detect", counted)
    return seen


def test_a_second_run_does_only_what_is_new(detect, tmp_path, calls):
    sounds, out = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(("a.wav", "b.wav", "c.wav")):
        write_sound(sounds / name, 2, seed=seed)
    detect(sounds)
    assert calls == ["a.wav", "b.wav", "c.wav"]
    table = (out / "detections.tsv").read_text()
    del calls[:]

    status, text, _ = detect(sounds)
    assert status == 0 and calls == [] and "3 were finished already" in text
    assert (out / "detections.tsv").read_text() == table

    os.utime(sounds / "a.wav", (1, 1))  # changed
    write_sound(sounds / "d.wav", 1)  # new
    detect(sounds)
    assert calls == ["a.wav", "d.wav"]
    del calls[:]

    detect(sounds, "--scores")  # more results
    assert len(calls) == 4
    detect(sounds, "--threshold", 0.7)  # other results
    assert len(calls) == 8
    detect(sounds, "--threshold", 0.7)
    assert len(calls) == 8


def test_another_format_is_written_without_listening_again(detect, tmp_path, calls):
    formats = ("--format", "json,csv,audacity,raven")
    sound, out, fresh = tmp_path / "a.wav", tmp_path / "out", tmp_path / "fresh"
    write_sound(sound, 3)
    detect(sound, *formats, out=fresh)
    detect(sound)
    del calls[:]
    assert "1 were finished already" in detect(sound, *formats)[1]
    assert "1 were finished already" in detect(sound)[1]
    (out / "a.wav.tsv").unlink()
    detect(sound)
    assert calls == []
    assert rows_of(out / "a.wav.tsv") == rows_of(out / "detections.tsv") != []
    for ending in ("json", "csv", "audacity.txt", "raven.txt"):
        name = f"a.wav.{ending}"
        assert (out / name).read_text() == (fresh / name).read_text()
    detect(sound, "--report")
    assert calls == ["a.wav"]


def test_a_stopped_run_goes_on(detect, tmp_path, calls, monkeypatch):
    sounds, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "b.wav", "c.wav"):
        write_sound(sounds / name, 2)
    original = stream.detect

    def stopped(detector, path, *others, **options):
        if path.name == "b.wav":
            raise KeyboardInterrupt
        return original(detector, path, *others, **options)

    with monkeypatch.context() as patch:
        patch.setattr(stream, "detect", stopped)
        assert detect(sounds, "--scores")[0] == 130
    assert files_below(out) == [
        "a.wav.tsv",
        "detections.tsv",
        "journal.jsonl",
        "scores/a.tsv",
    ]
    assert len(rows_of(out / "detections.tsv")) == len(rows_of(out / "a.wav.tsv"))
    # Killed in the middle of a journal line.
    with open(out / "journal.jsonl", "a") as file:
        file.write('{"name": "b.wav", "sou')
    del calls[:]
    assert detect(sounds, "--scores")[0] == 0
    assert calls == ["b.wav", "c.wav"]
    del calls[:]
    detect(sounds, "--scores")
    assert calls == []
    n_rows = sum(len(rows_of(out / f"{name}.wav.tsv")) for name in "abc")
    assert len(rows_of(out / "detections.tsv")) == n_rows > 0


def test_a_file_that_went_bad_leaves_the_table(detect, tmp_path):
    path = write_sound(tmp_path / "in" / "a.wav", 3)
    write_sound(tmp_path / "in" / "b.wav", 3, seed=1)
    detect(tmp_path / "in")
    path.write_text("gone")
    assert detect(tmp_path / "in")[0] == 3
    table = rows_of(tmp_path / "out" / "detections.tsv")
    assert {row["filename"] for row in table} == {"b.wav"}


def test_a_disk_that_goes_takes_no_results_with_it(detect, tmp_path):
    path = write_sound(tmp_path / "a.wav", 3)
    detect(path)
    table = rows_of(tmp_path / "out" / "detections.tsv")
    path.rename(tmp_path / "b.wav")
    assert detect(path)[0] == 1
    assert rows_of(tmp_path / "out" / "detections.tsv") == table != []
    (tmp_path / "b.wav").rename(path)
    assert "1 were finished already" in detect(path)[1]


def test_results_of_a_namesake_are_not_overwritten(detect, tmp_path):
    write_sound(tmp_path / "x" / "a.wav", 2)
    write_sound(tmp_path / "y" / "a.wav", 2, seed=1)
    assert detect(tmp_path / "x")[0] == 0
    before = (tmp_path / "out" / "a.wav.tsv").read_text()
    status, _, err = detect(tmp_path / "y")
    assert status == 1 and "holds results of another a.wav" in err
    assert (tmp_path / "out" / "a.wav.tsv").read_text() == before


def test_a_recording_is_in_the_table_once_whatever_it_is_called(detect, tmp_path):
    for seed, name in enumerate(("x/a.wav", "x/b.wav", "y/c.wav")):
        write_sound(tmp_path / "in" / name, 2, seed=seed)
    detect(tmp_path / "in" / "x")
    detect(tmp_path / "in")
    table = rows_of(tmp_path / "out" / "detections.tsv")
    assert {row["filename"] for row in table} == {"x/a.wav", "x/b.wav", "y/c.wav"}
    n_rows = sum(len(rows_of(path)) for path in (tmp_path / "out").glob("*/*.tsv"))
    assert len(table) == n_rows > 0


def test_a_table_is_of_one_threshold(detect, tmp_path):
    sounds, out = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(("a.wav", "b.wav")):
        write_sound(sounds / name, 2, seed=seed)
    assert "leaves out" not in detect(sounds)[1]
    both = (out / "detections.tsv").read_text()
    assert "the table leaves out 1 file" in detect(sounds / "a.wav", "--median", 0)[1]
    assert rows_of(out / "detections.tsv") == rows_of(out / "a.wav.tsv")
    assert rows_of(out / "b.wav.tsv")
    assert "leaves out" not in detect(sounds)[1]
    assert (out / "detections.tsv").read_text() == both


def test_two_runs_do_not_write_to_one_folder(detect, tmp_path):
    write_sound(tmp_path / "a.wav", 1)
    (tmp_path / "out").mkdir()
    with locks.take(tmp_path / "out" / locks.NAME, "it"):
        status, _, err = detect(tmp_path / "a.wav")
    assert status == 1 and "out is in use by process " in err
    assert detect(tmp_path / "a.wav")[0] == 0


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(
    detect, tmp_path, monkeypatch
):
    from jaxsed.inference import outputs

    for name in ("a.wav", "b.wav", "c.wav"):
        write_sound(tmp_path / "in" / name, 1)
    original = outputs.write

    def full(path, text):
        if path.name == "b.wav.tsv":
            raise OSError(28, "No space left on device", str(path))
        original(path, text)

    monkeypatch.setattr(outputs, "write", full)
    status, _, err = detect(tmp_path / "in")
    assert status == 1 and "No space left" in err and "Traceback" not in err
    rows = rows_of(tmp_path / "out" / "detections.tsv")
    assert rows == rows_of(tmp_path / "out" / "a.wav.tsv")
    assert not (tmp_path / "out" / "c.wav.tsv").exists()


def test_a_stop_between_results_and_the_journal_is_no_end(
    detect, tmp_path, monkeypatch
):
    from jaxsed.inference.journal import Journal

    sound, out = write_sound(tmp_path / "a.wav", 3), tmp_path / "out"
    detect(sound)
    finished = rows_of(out / "a.wav.tsv")

    def stopped(self, *arguments, **settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", stopped)
        assert detect(sound, "--threshold", 0.9999)[0] == 130
    assert rows_of(out / "a.wav.tsv") == [] != finished
    assert "1 file done" in detect(sound)[1]
    assert rows_of(out / "a.wav.tsv") == finished == rows_of(out / "detections.tsv")


def test_a_card_with_files_of_the_same_names_sizes_and_times(detect, tmp_path, calls):
    sound, found = tmp_path / "card" / "20260601_050000.WAV", []
    for seed in (0, 1, 0):
        write_sound(sound, 3, seed=seed)
        os.utime(sound, (1, 1))
        assert detect(sound.parent)[0] == 0
        found.append(rows_of(tmp_path / "out" / "detections.tsv"))
    assert len(calls) == 3 and found[0] == found[2] != found[1]


def test_a_filter_of_two_frames(detect, tmp_path):
    assert detect(write_sound(tmp_path / "a.wav", 3), "--median", 0.08)[0] == 0


def test_problems_are_of_all_files_in_the_table(detect, tmp_path):
    cut, other = tmp_path / "x" / "a.flac", tmp_path / "y" / "b.wav"
    write_sound(cut, 6, format="FLAC")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    write_sound(other, 1)
    assert detect(cut.parent)[0] == 3
    said = (tmp_path / "out" / "problems.txt").read_text()
    assert detect(other.parent)[0] == 0
    assert (tmp_path / "out" / "problems.txt").read_text() == said != ""


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EILSEQ])
def test_a_name_that_the_disk_refuses_is_a_problem_of_its_file(
    detect, tmp_path, monkeypatch, number
):
    from jaxsed.inference import outputs

    for name in ("a.wav", "b:c.wav", "d.wav"):
        write_sound(tmp_path / "in" / name, 1)
    detect(tmp_path / "in", "--format", "csv")
    original = outputs.write

    def refused(path, text):
        if ":" in path.name:
            raise OSError(number, os.strerror(number), str(path))
        original(path, text)

    monkeypatch.setattr(outputs, "write", refused)
    # Written without listening again, all but one; then listened to, all but one.
    for more in ((), ("--threshold", 0.7)):
        status, _, err = detect(tmp_path / "in", "--format", "csv,json", *more)
        assert status == 3 and os.strerror(number) in err and "Traceback" not in err
        assert (tmp_path / "out" / "d.wav.json").exists()


def test_a_file_that_makes_a_library_fail_does_not_stop_the_rest(
    detect, tmp_path, monkeypatch
):
    for name in ("a.wav", "b.wav"):
        write_sound(tmp_path / "in" / name, 1)
    original = stream.detect

    def strange(detector, path, *others, **options):
        if path.name == "a.wav":
            raise RuntimeError("first line\nsecond line")
        return original(detector, path, *others, **options)

    monkeypatch.setattr(stream, "detect", strange)
    status, out, err = detect(tmp_path / "in")
    assert status == 3 and "1 file done" in out
    assert "a.wav: failed with RuntimeError: first line second line" in err


def test_a_name_too_long_for_its_results_is_a_problem(detect, tmp_path):
    write_sound(tmp_path / "in" / ("x" * 249 + ".wav"), 1)
    write_sound(tmp_path / "in" / "a.wav", 1)
    status, out, err = detect(tmp_path / "in")
    assert status == 3 and "1 file done" in out and "File name too long" in err


def test_true_events_change_the_picture_only(detect, tmp_path, calls):
    write_sound(tmp_path / "in" / "sub" / "a.wav", 2)
    truth = tmp_path / "truth.tsv"
    header = "filename\tonset\toffset\tevent_label\n"
    truth.write_text(header + "a.wav\t0.2\t1.1\tBell\n")
    arguments = (tmp_path / "in", "--events", truth)
    assert detect(*arguments)[0] == 0
    picture = tmp_path / "out" / "sub" / "a.wav.png"
    before = picture.read_bytes()
    detect(*arguments)
    assert len(calls) == 1
    truth.write_text(header + "a.wav\t0.2\t1.1\tBark\nb.wav\t0\t1\tBrak\n")
    status, _, err = detect(*arguments)
    assert len(calls) == 2 and picture.read_bytes() != before
    assert status == 3 and "line 3" in err and "did you mean 'Bark'" in err


def test_true_events_of_other_files_are_told(detect, tmp_path):
    path = write_sound(tmp_path / "day1" / "a.wav", 1)
    write_sound(tmp_path / "day2" / "a.wav", 1)
    truth = tmp_path / "truth.tsv"
    header = "filename\tonset\toffset\tevent_label\n"
    truth.write_text(header + "day2/a.wav\t0\t1\tBell\nday1/a.wav\t0\t1\tBell\n")
    assert detect(path, "--events", truth)[0] == 0
    truth.write_text(header + "a.wav\t0\t1\tBell\n")
    status, _, err = detect(tmp_path, "--events", truth)
    assert status == 1 and "truth.tsv: a may be day1/a or day2/a" in err
    truth.write_text(header + "b.wav\t0\t1\tBell\n")
    status, _, err = detect(path, "--events", truth)
    assert status == 3 and "no line is of any of these files; it has 'b'" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "tvs"), "did you mean 'tsv'"),
        (("--format", ","), "--format is empty"),
        (("--threshold", "50"), "threshold"),
        (("--median", "-1"), "median"),
        (("--overlap", "1"), "overlap"),
        (("--events", "nowhere.tsv"), "nowhere.tsv"),
    ],
)
def test_wrong_options_are_refused(detect, tmp_path, arguments, message):
    path = write_sound(tmp_path / "a.wav", 1)
    status, _, err = detect(path, *arguments)
    assert status == 1 and message in err and err.count("\n") <= 2
    assert not (tmp_path / "out").exists()


def test_out_must_be_a_folder(detect, tmp_path):
    path = write_sound(tmp_path / "a.wav", 1)
    status, _, err = detect(path, out=path)
    assert status == 1 and "is a file" in err
