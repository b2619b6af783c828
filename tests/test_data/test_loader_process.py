import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from grain.multiprocessing import SharedMemoryArray

from jaxsed.data import loader_process
from jaxsed.data.pipelines import training_batches
from jaxsed.errors import InputError
from tests.test_data.fakes import FakeData, assert_same_batch

REPOSITORY = Path(__file__).parents[2]
SHAPE = {"clip_seconds": 2.0, "n_frames": 50}


def test_a_worker_that_is_killed_is_named_with_the_likely_reason():
    batches = training_batches(
        FakeData(), seed=0, batch_size=4, workers=1, threads=1, **SHAPE
    )
    next(batches)
    time.sleep(0.5)  # killed while it makes shared memory, it would leave some of it
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    reason = r"killed by SIGKILL: most likely memory ran out; lower data\.workers"
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


@pytest.mark.parametrize("n", [16, 100_000])
def test_shared_memory_goes_with_its_last_user(n):
    array = SharedMemoryArray((n,), np.uint8)
    array[:] = 7
    array.unlink_on_del()  # as grain hands it out
    name = array.shm.name
    adopted = loader_process.adopted(array)
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    assert (adopted is array) == (n > 4096)
    del array
    assert (adopted == 7).all()
    plain = np.zeros(n)
    np.testing.assert_array_equal(loader_process.adopted(plain), plain)


def test_other_ends_of_a_worker():
    def told(code):
        words = f"Worker process was terminated unexpectedly with exit code {code}."
        return str(loader_process.in_one_line(RuntimeError(words)))

    assert "ended with status 3: its own words are above" in told(3)
    assert "was killed by SIGSEGV: its own words" in told(-signal.SIGSEGV)
    assert "SIGBUS: most likely shared memory ran out" in told(-signal.SIGBUS)
    assert loader_process.in_one_line(RuntimeError("a bug")) is None
    assert not loader_process.has_begun()
