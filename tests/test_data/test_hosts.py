"""Several hosts, one folder: processes here, each told that it is a host."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jaxsed.data import prepare as prepare_module
from jaxsed.data import publish as publish_module
from jaxsed.data import shards as shards_module
from jaxsed.data.hosts import ALONE, Host, host_of, parse_host
from jaxsed.data.layouts import audioset_strong
from jaxsed.data.prepare import prepare
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError

from .audioset_folder import write_folder

REPOSITORY = Path(__file__).parents[2]
N_SHARDS = 7

HOST = """
    import os, signal, sys, time
    from pathlib import Path
    from jaxsed.data import shards
    from jaxsed.data.hosts import parse_host
    from jaxsed.data.layouts import audioset_strong
    from jaxsed.data.prepare import prepare

    def read_clip(clip, *rest, read_clip=shards._read_clip):
        if clip.id == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_clip(clip, *rest)

    if __name__ == "__main__":
        source, out, host, dies_at = sys.argv[1:]
        shards._read_clip = read_clip
        split = audioset_strong.read(Path(source), "train")
        print("ready", flush=True)
        sys.stdin.readline()
        done = prepare(split, Path(out), n_shards=7, host=parse_host(host))
        print("published" if done else "left", flush=True)
"""


def prepare_train(source, out, **options):
    split = audioset_strong.read(source, "train")
    return prepare(split, out, n_shards=N_SHARDS, **options)


def contents(folder):
    files = [*folder.glob("*.*"), *folder.glob("shards/*.array_record")]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = write_folder(tmp_path_factory.mktemp("source"), n_clips=14, seconds=2.0)
    next(iter(root.glob("audio/train/clip005*"))).unlink()
    return root


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "train"
    prepare_train(source, out)
    return contents(out)


@pytest.fixture
def start(source, tmp_path):
    """Starts a host that waits for `go`."""
    script = tmp_path / "host.py"
    script.write_text(textwrap.dedent(HOST))
    started = []

    def start(host, dies_at="-"):
        process = subprocess.Popen(
            [sys.executable, script, source, tmp_path / "out", host, dies_at],
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(processes):
    """Lets hosts loose at the same moment; returns what each says at its end."""
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=60)[0].strip() for process in processes]


def test_three_hosts_at_once(source, undisturbed, start, tmp_path):
    said = go([start(f"{k}/3") for k in range(3)])
    assert set(said) <= {"published", "left"}
    assert "published" in said
    assert contents(tmp_path / "out") == undisturbed
    assert not list(tmp_path.glob("out/shards/*.tmp"))


def test_a_killed_host_is_started_again(source, undisturbed, start, tmp_path):
    out = tmp_path / "out"
    # Clip 8 is in shard 4, the second shard of host 1 of 3.
    hosts = [start("0/3"), start("1/3", dies_at="clip008_8000"), start("2/3")]
    assert go(hosts) == ["left", "", "left"]
    assert hosts[1].returncode == -signal.SIGKILL
    with pytest.raises(InputError, match="unfinished"):
        PreparedData(out)
    kept = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.json")}
    assert len(kept) == N_SHARDS  # 6 shards and whose they are
    assert go([start("1/3")]) == ["published"]
    assert contents(out) == undisturbed
    for path, changed in kept.items():
        assert path.stat().st_mtime_ns == changed, "done again"
    assert not list(out.glob("shards/*.tmp"))


def test_one_run_without_the_option_finishes_what_hosts_left(
    source, undisturbed, tmp_path
):
    assert prepare_train(source, tmp_path / "out", host=Host(2, 4)) is None
    assert len(list(tmp_path.glob("out/shards/*.array_record"))) == 2
    assert prepare_train(source, tmp_path / "out")["clips"] == 13
    assert contents(tmp_path / "out") == undisturbed


def test_the_same_host_twice_at_once(source, undisturbed, start, tmp_path):
    """Wasteful, but nothing breaks: whoever is second finds it done."""
    said = go([start("0/1"), start("0/1")])
    assert said == ["published"] * 2
    assert contents(tmp_path / "out") == undisturbed


def test_more_hosts_than_shards(source, undisturbed, tmp_path):
    for k in range(9):
        manifest = prepare_train(source, tmp_path / "out", host=Host(k, 9))
        # Those without a shard may come first or last.
        assert (manifest is None) == (k < N_SHARDS - 1)
    assert contents(tmp_path / "out") == undisturbed


def test_a_host_that_sees_other_sounds_does_not_publish(source, tmp_path):
    prepare_train(source, tmp_path / "out", host=Host(0, 2))
    first = source / "audio" / "train" / "clip000_0000.flac"
    times = first.stat().st_atime_ns, first.stat().st_mtime_ns
    os.utime(first, ns=(0, 0))
    try:
        assert prepare_train(source, tmp_path / "out", host=Host(1, 2)) is None
    finally:
        os.utime(first, ns=times)
    assert prepare_train(source, tmp_path / "out", host=Host(1, 2)) is not None


def test_sounds_that_change_during_the_run_are_told(source, tmp_path, monkeypatch):
    changed = source / "audio" / "train" / "clip000_0000.flac"
    times = changed.stat().st_atime_ns, changed.stat().st_mtime_ns
    read_clip = shards_module._read_clip

    def change(clip, *rest):
        if clip.id == "clip000_0000":
            os.utime(changed, ns=(0, 1))
        return read_clip(clip, *rest)

    monkeypatch.setattr(shards_module, "_read_clip", change)
    try:
        with pytest.raises(InputError, match="changed during the run; run it again"):
            prepare_train(source, tmp_path / "out")
    finally:
        os.utime(changed, ns=times)


@pytest.mark.parametrize("moment", ["write_index", "write_atomically"])
def test_left_overs_taken_away_by_another_publisher_are_no_error(
    source, undisturbed, tmp_path, monkeypatch, moment
):
    out, rmtree = tmp_path / "out", shutil.rmtree
    place = publish_module.records if moment == "write_index" else publish_module
    write = getattr(place, moment)

    def is_slow(folder, **options):
        for file in Path(folder).iterdir():
            file.unlink()  # the folder itself is still there when the other looks

    def publish_meanwhile(*arguments, **options):
        monkeypatch.undo()
        monkeypatch.setattr(shutil, "rmtree", is_slow)
        prepare_train(source, out)
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        return write(*arguments, **options)

    monkeypatch.setattr(place, moment, publish_meanwhile)
    assert prepare_train(source, out)["clips"] == 13
    assert contents(out) == undisturbed


def test_a_journal_that_goes_before_it_is_read_is_told(source, tmp_path, monkeypatch):
    publish = prepare_module.publish

    def without_one(split, out, shards):
        shards_module.journal_path(shards[2]).unlink()
        return publish(split, out, shards)

    monkeypatch.setattr(prepare_module, "publish", without_one)
    with pytest.raises(
        InputError, match=r"00002-of-00007.* was changed meanwhile; run"
    ):
        prepare_train(source, tmp_path / "out")


def test_claims_at_the_same_time(source, tmp_path, monkeypatch):
    """Another host claims the folder, and begins, between two looks at it."""
    out = tmp_path / "out"
    strangers = prepare_module._strangers

    def slow(folder):
        monkeypatch.undo()
        before = list(strangers(folder))
        prepare_train(source, out, host=Host(0, 2))
        return before

    monkeypatch.setattr(prepare_module, "_strangers", slow)
    assert prepare_train(source, out, host=Host(1, 2)) is not None


@pytest.mark.parametrize("text", ["4/4", "1", "-1/2", "a/b", "1/0", "0/0", "1/2/3"])
def test_wrong_hosts(text):
    with pytest.raises(InputError, match="expected I/N, I from 0 to N - 1"):
        parse_host(text)


def test_hosts():
    assert parse_host(" 3/4 ") == Host(3, 4)
    assert str(Host(3, 4)) == "3/4"
    owners = [[k for k in range(4) if Host(k, 4).owns(unit)] for unit in range(9)]
    assert owners == [[0], [1], [2], [3], [0], [1], [2], [3], [0]]


def test_srun_says_which_host_this_is():
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_NTASKS": "4"}
    assert host_of(step) == Host(2, 4)
    batch_script = {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}
    assert host_of(batch_script) == ALONE
    assert host_of({}) == ALONE
