"""Batches computed ahead by other processes: the same ones, and what goes wrong there.

What iterators of training and evaluation promise is tested in test_pipelines.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from jaxsed.data.pipelines import evaluation_batches, training_batches
from jaxsed.errors import InputError
from tests.test_audio.sounds import FORMATS, encoded, tone
from tests.test_data.fakes import FakeData, assert_same_batch

REPOSITORY = Path(__file__).parents[2]
SHAPE = {"clip_seconds": 2.0, "n_frames": 50}


@pytest.fixture(scope="module")
def mixed():
    """A clip of every format and of several sample rates, each with its own sound."""
    data = FakeData(0)
    kinds = [(*kind, rate) for kind in FORMATS.items() for rate in (48_000, 24_000)]
    data.ids = [f"{name} {rate}" for name, _, rate in kinds]
    data.audio = [
        encoded(tone(2.0, rate, 200.0 + 20 * row), rate, **options)
        for row, (_, options, rate) in enumerate(kinds)
    ]
    data.manifest_hash = "mixed"
    return data


def test_every_format_comes_the_same_from_worker_processes(mixed):
    options = {"batch_size": 6, "sampling": "balanced", "seed": 3, "n_batches": 4}
    options |= SHAPE
    here = list(training_batches(mixed, threads=0, **options))
    workers = training_batches(mixed, workers=2, threads=1, **options)
    for batch, reference in zip(workers, here, strict=True):
        assert_same_batch(batch, reference)
    assert workers.speed.clips_per_core_second > 0
    # What comes is the tone: sounds of 48 and 24 kHz, resampled to 16 kHz.
    for row, audio in zip(here[0]["index"], here[0]["audio"]):
        expected = tone(2.0, 16_000, 200.0 + 20 * row)
        error = audio[4_000:-4_000] / 32_768 - expected[4_000:-4_000]
        assert np.abs(error).max() < 0.02


def test_the_first_clip_that_does_not_decode_ends_it_in_one_line(mixed):
    broken = FakeData(8)
    broken.audio[5] = b"not a sound"
    batches = evaluation_batches(broken, batch_size=2, workers=2, threads=1, **SHAPE)
    next(batches)
    with pytest.raises(InputError) as caught:
        list(batches)
    assert str(caught.value) == (
        "clip 'clip5' (row 5) cannot be decoded, although preparing the data checks "
        "every clip: prepare it again (clip5: not a sound file libsndfile can decode "
        "(Format not recognised))"
    )
    assert not multiprocessing.active_children()


def test_memory_that_runs_out_is_told_in_one_line():
    data = FakeData()

    def audio_bytes(row):
        raise MemoryError

    data.audio_bytes = audio_bytes
    batches = training_batches(data, seed=0, batch_size=4, threads=1, **SHAPE)
    with pytest.raises(InputError, match=r"memory ran out .*; lower data\.workers"):
        next(batches)


def kill_a_worker(batches, how):
    next(batches)
    child = multiprocessing.active_children()[0]
    os.kill(child.pid, how)
    return child


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        (signal.SIGKILL, r"killed by SIGKILL: most likely memory ran out; lower data"),
        (signal.SIGBUS, r"killed by SIGBUS: .* make /dev/shm larger"),
    ],
)
def test_a_worker_that_is_killed_is_named_with_the_likely_reason(how, reason):
    batches = training_batches(
        FakeData(), seed=0, batch_size=4, workers=1, threads=1, **SHAPE
    )
    kill_a_worker(batches, how)
    with pytest.raises(InputError, match=reason) as caught:
        for _ in range(10):  # some are computed already
            next(batches)
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()
    # The position is that of the last batch that came: it can go on.
    state = batches.get_state()
    again = training_batches(FakeData(), seed=0, batch_size=4, threads=0, **SHAPE)
    again.set_state(state)
    assert_same_batch(next(batches), next(again))
    batches.close()


ALONE = """
import multiprocessing, sys, time
from jaxsed.data.pipelines import training_batches
from tests.test_data.fakes import FakeData
def main():
    shape = dict(clip_seconds=2.0, n_frames=50)
    batches = training_batches(FakeData(), seed=0, batch_size=4, workers=1, **shape)
    next(batches)
    print(multiprocessing.active_children()[0].pid, flush=True)
    if sys.argv[1] == "stay":
        sys.stdin.readline()
        next(batches)
        print("still here", flush=True)
        time.sleep(60)
if __name__ == "__main__":
    main()
"""


def start_alone(tmp_path, what):
    """Starts a program that loads through a worker; returns it and the worker's pid."""
    script = tmp_path / "alone.py"
    script.write_text(ALONE)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    pipes |= {"stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, script, what]
    process = subprocess.Popen(command, env=environment, **pipes)
    return process, int(process.stdout.readline())


def wait_until_gone(pid, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return
        if status[0] == "Z":  # dead; nobody is left here to take note of it
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} is still there")


def test_workers_leave_with_a_killed_parent_and_not_before(tmp_path):
    process, worker = start_alone(tmp_path, "stay")
    for polite in (signal.SIGTERM, signal.SIGINT):
        os.kill(worker, polite)
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert process.stdout.readline() == "still here\n"
    process.kill()
    process.communicate()
    wait_until_gone(worker)


def test_a_program_that_forgets_its_iterator_ends(tmp_path):
    process, worker = start_alone(tmp_path, "leave")
    _, words = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in words and "leaked" not in words
    wait_until_gone(worker)
