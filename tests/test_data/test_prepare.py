import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from jaxsed.data import shards as shards_module
from jaxsed.data.layouts import audioset_strong
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

from .audioset_folder import (  # fmt: skip
    BARK,
    MEOW,
    SPEECH,
    tone,
    write_audio,
    write_folder,
    write_tables,
)

REPOSITORY = Path(__file__).parents[2]


def prepare_train(source, out, **options):
    return prepare(audioset_strong.read(source, "train"), out, **options)


def contents(folder):
    """File name -> bytes of everything that is published."""
    files = [*folder.glob("*.*"), *folder.glob("shards/*.array_record")]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("source"), n_clips=12)


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "train"
    prepare_train(source, out, n_shards=4)
    return contents(out)


# Where the work is done does not show in what comes out.


def test_several_processes_give_the_same_bytes(source, undisturbed, tmp_path):
    prepare_train(source, tmp_path / "out", n_shards=4, workers=2)
    assert contents(tmp_path / "out") == undisturbed


def test_the_content_hash_does_not_depend_on_the_shards(source, tmp_path):
    hashes = {
        prepare_train(source, tmp_path / str(n), n_shards=n)["content_hash"]
        for n in (1, 5, 100)
    }
    assert len(hashes) == 1
    assert len(PreparedData(tmp_path / "100").manifest["shards"]) == 12


def test_the_content_hash_depends_on_audio_and_events(tmp_path):
    hashes = set()
    for name, hz, offset in (("a", 440, 2.0), ("b", 441, 2.0), ("c", 440, 2.1)):
        source = tmp_path / name
        write_tables(source, [("x_0", 1.0, offset, BARK)])
        write_audio(source, "x_0.flac", tone(10.0, hz=hz))
        hashes.add(prepare_train(source, source / "out")["content_hash"])
    assert len(hashes) == 3


KILLED_RUN = """
    import os, signal, sys
    from pathlib import Path
    from jaxsed.data import shards
    from jaxsed.data.layouts import audioset_strong
    from jaxsed.data.prepare import prepare

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def killed_after_the_first_shard(shards, total):
        for shard in shards:
            yield shard
            die()

    def killed_in_the_second_shard(clip, *rest, read_clip=shards._read_clip):
        if clip.id == "clip004_4000":
            die()
        return read_clip(clip, *rest)

    if __name__ == "__main__":
        # Who starts tests in the background has them ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        source, out, how, workers = sys.argv[1:]
        progress = lambda shards, total: shards
        if how == "interrupted":
            die = lambda: os.kill(os.getpid(), signal.SIGINT)
        if how in ("between", "interrupted"):
            progress = killed_after_the_first_shard
        else:
            shards._read_clip = killed_in_the_second_shard
        prepare(
            audioset_strong.read(Path(source), "train"), Path(out), n_shards=4,
            workers=int(workers), progress=progress,
        )
"""


@pytest.mark.parametrize(
    ("how", "workers"),
    [("between", 1), ("within", 1), ("between", 2), ("interrupted", 2)],
)
def test_a_killed_run_goes_on(source, undisturbed, tmp_path, how, workers):
    script = tmp_path / "killed_run.py"
    script.write_text(textwrap.dedent(KILLED_RUN))
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, script, source, out, how, str(workers)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    by = signal.SIGINT if how == "interrupted" else signal.SIGKILL
    assert run.returncode == -by
    with pytest.raises(InputError, match="unfinished"):
        PreparedData(out)
    if workers > 1:
        time.sleep(1.0)  # the orphans leave by themselves
    finished = {path: path.stat() for path in out.glob("shards/*.json")}
    shards = [path for path in finished if path.name != "source.json"]
    assert len(shards) >= 1
    if workers == 1:
        assert len(shards) == 1

    prepare_train(source, out, n_shards=4)
    assert contents(out) == undisturbed
    assert not list(out.glob("shards/*.tmp"))
    for path, before in finished.items():
        assert path.stat().st_mtime_ns == before.st_mtime_ns, "done again"


def test_workers_do_not_outlive_a_killed_parent(source, tmp_path):
    """Otherwise every kill would leave idle processes behind."""
    script = tmp_path / "killed_run.py"
    script.write_text(textwrap.dedent(KILLED_RUN))
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, script, source, tmp_path / "out", "between", "2"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=write_end,
    )
    os.close(write_end)
    process.wait(timeout=60)
    # The pipe ends when the last process that inherited it is gone.
    os.set_blocking(read_end, False)
    deadline = time.monotonic() + 20
    while True:
        try:
            assert os.read(read_end, 1) == b""
            break
        except BlockingIOError:
            assert time.monotonic() < deadline, "a worker is still there"
            time.sleep(0.05)
    os.close(read_end)


def test_a_second_run_does_nothing_again(source, tmp_path, monkeypatch):
    prepare_train(source, tmp_path / "out", n_shards=4)
    before = contents(tmp_path / "out")
    monkeypatch.setattr(shards_module, "measure", None)  # would fail if used
    prepare_train(source, tmp_path / "out", n_shards=4)
    assert contents(tmp_path / "out") == before


def test_a_damaged_shard_is_written_again(source, undisturbed, tmp_path):
    prepare_train(source, tmp_path / "out", n_shards=4)
    os.truncate(tmp_path / "out" / "shards" / "00002-of-00004.array_record", 100)
    prepare_train(source, tmp_path / "out", n_shards=4)
    assert contents(tmp_path / "out") == undisturbed


def test_another_number_of_shards_replaces_the_old_ones(source, undisturbed, tmp_path):
    prepare_train(source, tmp_path / "out", n_shards=3)
    prepare_train(source, tmp_path / "out", n_shards=4)
    assert contents(tmp_path / "out") == undisturbed
    assert len(list(tmp_path.glob("out/shards/*-of-*"))) == 8


def test_audio_that_arrives_later_is_added(tmp_path):
    root = write_folder(tmp_path / "source", n_clips=4)
    late = root / "audio" / "train" / "clip003_3000.flac"
    late.rename(tmp_path / "late")
    manifest = prepare_train(root, tmp_path / "out", n_shards=2)
    assert (manifest["clips"], manifest["clips_listed"]) == (3, 4)
    assert manifest["problems"]["missing"] == 1
    missing = {entry["name"]: entry["missing"] for entry in manifest["classes"]}
    assert missing == {"Bark": 0, "Meow": 1, "Speech": 1}

    first = tmp_path / "out" / "shards" / "00000-of-00002.json"
    untouched = first.stat().st_mtime_ns
    (tmp_path / "late").rename(late)
    assert prepare_train(root, tmp_path / "out", n_shards=2)["clips"] == 4
    assert first.stat().st_mtime_ns == untouched
    assert len(PreparedData(tmp_path / "out")) == 4


# What is refused.


def test_data_of_another_source_is_refused(source, tmp_path):
    prepare_train(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    other = write_folder(tmp_path / "other", n_clips=3)
    with pytest.raises(InputError, match=r"another source .differs in annotation"):
        prepare_train(other, tmp_path / "out")
    few = Vocabulary("few", ("Bark",), (BARK,))
    with pytest.raises(InputError, match="differs in vocabulary"):
        prepare(audioset_strong.read(source, "train", few), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_a_folder_with_something_else_is_refused(source, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match="not empty and was not written by"):
        prepare_train(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_that_cannot_be_written_is_refused(source, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        prepare_train(source, tmp_path / "file" / "out")


def test_no_audio_at_all(tmp_path):
    write_tables(tmp_path, [("x_0", 0, 1, BARK)])
    with pytest.raises(InputError, match=r"no sound .* of the 1 train clips .* x_0$"):
        prepare_train(tmp_path, tmp_path / "out")
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "y.wav").touch()
    with pytest.raises(InputError, match=r"e\.g\. x_0, but there is wavs/y\.wav$"):
        prepare_train(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_usable_audio(tmp_path):
    write_tables(tmp_path, [("x_0", 0, 1, BARK)])
    write_audio(tmp_path, "x_0.wav").write_bytes(b"")
    with pytest.raises(InputError, match="no clip can be used: 1 empty; listed in"):
        prepare_train(tmp_path, tmp_path / "out")
    assert "x_0\tempty" in (tmp_path / "out" / "problems.tsv").read_text()


@pytest.mark.parametrize("options", [{"workers": 0}, {"n_shards": 0}])
def test_impossible_numbers(source, tmp_path, options):
    with pytest.raises(InputError, match="both must be 1 or more"):
        prepare_train(source, tmp_path / "out", **options)


def test_a_worker_that_dies_is_told(source, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxsed.data.prepare.write_shard", die)
    with pytest.raises(InputError, match="a process was killed"):
        prepare_train(source, tmp_path / "out", n_shards=4, workers=2)


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


# Every bad input at once: each named, the rest prepared.


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder with a clip for everything that can be wrong; its prepared form."""
    root = tmp_path_factory.mktemp("bad")
    nan, inf = tone(), tone()
    nan[5], inf[-5] = np.nan, np.inf
    rng = np.random.default_rng(0)
    floats = {"subtype": "FLOAT"}
    write_audio(root, "good_0.flac")
    write_audio(root, "zero_0.wav").write_bytes(b"")
    write_audio(root, "header_0.wav", np.zeros((0, 1)))
    write_audio(root, "page_0.mp3", format="WAV").write_bytes(b"<html>gone</html>")
    write_audio(root, "nan_0.wav", nan, **floats)
    write_audio(root, "inf_0.wav", inf, **floats)
    cut = write_audio(root, "cut_0.flac", rng.uniform(-0.5, 0.5, 80_000))
    os.truncate(cut, cut.stat().st_size // 2)
    write_audio(root, "misnamed_0.wav", format="MP3")
    write_audio(root, "moment_0.wav", tone(0.3))
    write_audio(root, "long_0.wav", tone(12.0))
    write_audio(root, "silence_0.wav", np.zeros(80_000))
    write_audio(root, "surround_0.wav", tone(10.0, 48_000, 6), 48_000)
    write_audio(root, "sixteen_0.wav", tone(10.0, 8_000, 16))
    write_audio(root, "mé tä 音_0.opus", tone(10.0, 16_000), 16_000, format="OGG", subtype="OPUS")  # fmt: skip
    write_audio(root, "loud_0.wav", 5 * tone(), **floats)
    write_audio(root, "events_0.flac")
    write_audio(root, "nothing_0.flac")
    clips = "good zero header page nan inf cut misnamed long silence surround sixteen"
    rows = [(f"{clip}_0", 1.0, 2.0, SPEECH) for clip in clips.split()]
    rows += [
        ("absent_0", 1.0, 2.0, MEOW),
        ("moment_0", 0.1, 0.2, SPEECH),
        ("mé tä 音_0", 1.0, 2.0, SPEECH),
        ("loud_0", 1.0, 2.0, SPEECH),
        ("events_0", 1.0, 2.0, BARK),
        ("events_0", 1.0, 2.0, BARK),
        ("events_0", 1.5, 3.0, BARK),
        ("events_0", -1.0, 0.5, SPEECH),
        ("events_0", 9.0, 11.0, SPEECH),
        ("events_0", 6.0, 5.0, SPEECH),
        ("events_0", 3.0, 4.0, "/m/unheard"),
        ("events_0", "x", 4.0, BARK),
        ("nothing_0", 4.0, 4.0, BARK),
    ]
    table = write_tables(root, rows)
    table.write_bytes(table.read_bytes().replace(b"\n", b"\r\n"))
    manifest = prepare_train(root, root / "out")
    lines = (root / "out" / "problems.tsv").read_text(encoding="utf-8").splitlines()
    problems = [tuple(line.split("\t")) for line in lines[1:]]
    return PreparedData(root / "out"), manifest, problems


def test_every_problem_is_listed(bad):
    _, manifest, problems = bad
    assert sorted(problem[:2] for problem in problems) == sorted(
        [
            ("absent_0", "missing"),
            ("cut_0", "short"),
            ("cut_0", "truncated"),
            ("events_0", "duplicate"),
            ("events_0", "negative_time"),
            ("events_0", "outside_clip"),
            ("events_0", "overlap"),
            ("events_0", "reversed"),
            ("events_0", "unknown_label"),
            ("events_0", "unreadable_line"),
            ("header_0", "empty"),
            ("inf_0", "non_finite"),
            ("long_0", "long"),
            ("moment_0", "short"),
            ("nan_0", "non_finite"),
            ("nothing_0", "no_events"),
            ("nothing_0", "reversed"),
            ("page_0", "undecodable"),
            ("silence_0", "silent"),
            ("zero_0", "empty"),
        ]
    )
    assert sum(manifest["problems"].values()) == len(problems)
    assert manifest["problems"]["non_finite"] == 2
    detail = {problem[:2]: problem[2] for problem in problems}
    assert "audio/train/page_0.mp3: not a sound file" in detail["page_0", "undecodable"]
    assert "0.300 s instead of 10 s" in detail["moment_0", "short"]


def test_the_rest_is_prepared(bad):
    data, manifest, _ = bad
    usable = (
        "cut events good long loud misnamed moment mé~tä~音 silence sixteen surround"
    )
    expected = sorted(f"{clip.replace('~', ' ')}_0" for clip in usable.split())
    assert data.ids.tolist() == expected
    assert manifest["clips"] == 11
    row = {clip: i for i, clip in enumerate(expected)}
    assert data.durations[row["moment_0"]] == pytest.approx(0.3)
    assert data.durations[row["surround_0"]] == 10.0
    assert data.durations[row["mé tä 音_0"]] == pytest.approx(10.0, abs=0.05)
    assert data.events(row["events_0"]) == [
        Event(0.0, 0.5, data.vocabulary.index("Speech")),
        Event(1.0, 3.0, data.vocabulary.index("Bark")),
        Event(9.0, 10.0, data.vocabulary.index("Speech")),
    ]


def test_counts_per_class(bad):
    data, manifest, _ = bad
    counts = {entry["name"]: entry for entry in manifest["classes"]}
    assert counts["Meow"]["clips"] == 0
    assert counts["Meow"]["missing"] == 1
    assert counts["Bark"]["clips"] == counts["Bark"]["events"] == 1
    assert counts["Bark"]["seconds"] == 2.0
    seconds = [counts[name]["seconds"] for name in data.vocabulary.names]
    np.testing.assert_allclose(data.activity().class_seconds(), seconds)


def test_the_manifest_describes_itself(bad):
    _, manifest, _ = bad
    assert manifest["format"] == 1
    assert manifest["layout"] == "audioset_strong"
    assert manifest["split"] == "train"
    assert manifest["resampler"] == "soxr HQ"
    assert manifest["vocabulary"]["name"] == "audioset_strong_train_3"
