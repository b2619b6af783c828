import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from jaxsed.data import teacher_shard
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_store import IN_PROGRESS
from jaxsed.errors import InputError
from tests.test_data.teacher_stores import (
    SHARD_CLIPS,
    C,
    N,
    Stopped,
    T,
    as_written,
    contents,
    open_writer,
    write,
)

SUM_BYTES = SHARD_CLIPS * T * C * 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "store"
    write(folder)
    return contents(folder)


@pytest.fixture
def flushing(monkeypatch):
    """Every batch is safe once it is written."""
    monkeypatch.setattr(teacher_shard, "_FLUSH_BYTES", 1)


@pytest.mark.parametrize("at_once", [1, 2])
def test_bits_do_not_depend_on_how_many_teachers_are_held(tmp_path, finished, at_once):
    write(tmp_path, at_once)
    assert contents(tmp_path) == finished


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("limits", [(1,) * 8, (5,), (2, 6), (4, 1, 2)])
def test_stopped_writing_gives_the_same_bits(
    tmp_path, finished, flushing, at_once, limits
):
    for limit in limits:
        with pytest.raises(Stopped):
            write(tmp_path, at_once, limit=limit)
    write(tmp_path, at_once)
    assert contents(tmp_path) == finished


def test_a_stopped_pass_goes_on_with_its_next_batch(tmp_path, flushing):
    with pytest.raises(Stopped):
        write(tmp_path, at_once=2, limit=2)
    with open_writer(tmp_path).open_shard(0) as shard:
        assert shard.n_summed == 0
        assert shard.begin(2, batch_clips=3) == 6
    with open_writer(tmp_path).open_shard(0) as shard:
        assert shard.begin(2, batch_clips=4) == 4  # whole batches of the new size
    with open_writer(tmp_path).open_shard(0) as shard:
        assert shard.begin(1) == 0  # another pass


def test_other_numbers_of_teachers_at_once_go_on_from_the_sum(tmp_path, finished):
    with pytest.raises(Stopped):
        write(tmp_path, at_once=1, limit=5)  # atst_1 is in, fpasst_1 half
    with open_writer(tmp_path).open_shard(0) as shard:
        assert shard.n_summed == 1
    write(tmp_path, at_once=2)
    assert contents(tmp_path) == finished


KILLED = """
import os
from pathlib import Path
from jaxsed.data import teacher_shard
from tests.test_data.teacher_stores import write

teacher_shard._FLUSH_BYTES = 1
left = {nth}

def killing(module, name, after):
    function = getattr(module, name)
    def wrapped(*args, **kwargs):
        global left
        left -= 1
        if left < 0 and not after:
            os._exit(9)
        result = function(*args, **kwargs)
        if left < 0 and after:
            os._exit(9)
        return result
    setattr(module, name, wrapped)

for name in ("fsync", "replace", "unlink"):
    killing(os, name, after={nth} % 2 == 0)
write(Path({folder!r}), at_once={at_once})
"""


@pytest.mark.parametrize("at_once", [1, 3])
def test_killed_writing_gives_the_same_bits(tmp_path, finished, at_once):
    """os._exit at every kind of moment between two things that belong together."""
    processes = []
    for nth in (0, 3, 6, 9, 13, 14, 15, 16, 17):
        code = KILLED.format(nth=nth, folder=str(tmp_path / str(nth)), at_once=at_once)
        run = [sys.executable, "-c", code]
        processes.append(subprocess.Popen(run, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 9, errors
    for folder in tmp_path.iterdir():
        write(folder, at_once)
        assert contents(folder) == finished, folder.name


@pytest.mark.parametrize("at_once", [1, 3])
def test_room_on_the_disk_is_bounded(tmp_path, monkeypatch, at_once):
    largest = 0
    written = teacher_shard.TeacherShard.write

    def measured(shard, sums):
        nonlocal largest
        written(shard, sums)
        in_progress = (tmp_path / IN_PROGRESS).glob("*_*")
        largest = max(largest, sum(file.stat().st_size for file in in_progress))

    monkeypatch.setattr(teacher_shard.TeacherShard, "write", measured)
    write(tmp_path, at_once)
    mean_bytes = SUM_BYTES // 2
    assert largest == (2 * SUM_BYTES if at_once == 1 else mean_bytes)
    assert not (tmp_path / IN_PROGRESS).exists()


def test_memory_is_a_few_batches(tmp_path):
    n_frames, batch = 5000, np.ones((8, 5000, C), np.float32)
    ids = [str(row) for row in range(160)]
    writer = open_writer(tmp_path, ids=ids, n_frames=n_frames, shard_clips=160)
    with writer.open_shard(0) as shard:
        for n_teachers in (1, 2, 3):
            shard.begin(n_teachers)
            tracemalloc.start()
            for start in range(0, 160, 8):
                before = shard.before(start, start + 8)
                sums = batch if before is None else before + batch
                shard.write(as_written(shard, sums))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            shard.end()
            assert peak < 5.5 * batch.nbytes  # the sum of the shard: 20
    assert (TeacherLogits(tmp_path).get("159") == 1).all()


@pytest.mark.parametrize("damage", ["sum", "journal", "names", "mean"])
def test_damaged_work_in_progress_is_done_again(
    tmp_path, finished, flushing, damage, caplog
):
    with pytest.raises(Stopped):
        write(tmp_path, at_once=2, limit=5)  # two teachers in, the third half
    folder = tmp_path / IN_PROGRESS
    if damage == "mean":
        (folder / "00000_03.f16").write_bytes(b"")
    elif damage == "sum":
        (folder / "00000_02.sum").write_bytes(b"cut off")
    elif damage == "journal":
        (folder / "00000.json").write_text('{"summed": ["at')
    else:
        journal = json.loads((folder / "00000.json").read_text())
        journal["summed"] = ["fpasst_1", "atst_1"]
        (folder / "00000.json").write_text(json.dumps(journal))
    write(tmp_path, at_once=2)
    assert contents(tmp_path) == finished
    assert ("begun anew" in caplog.text) == (damage != "mean")


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, finished, flushing):
    with open_writer(tmp_path).open_shard(0) as shard:
        shard.begin(3)
        shard.write(np.ones((2, T, C), np.float16))
        shard._out.close()
        full = pytest.raises(InputError, match=r"No space left .*goes on")
        with open("/dev/full", "r+b", buffering=0) as shard._out, full:
            shard.write(np.ones((2, T, C), np.float16))
    with open_writer(tmp_path).open_shard(0) as shard:
        assert shard.begin(3) == 2


def test_only_one_process_writes_a_shard(tmp_path):
    writer = open_writer(tmp_path)
    first, other = writer.open_shard(1), writer.open_shard(0)
    with pytest.raises(InputError, match=r"shard 1 of .* is in use by process"):
        writer.open_shard(1)
    first.close()
    other.close()
    writer.open_shard(1).close()


def test_misuse_is_an_error(tmp_path):
    with open_writer(tmp_path).open_shard(2) as shard:
        assert len(shard) == N - 2 * SHARD_CLIPS
        with pytest.raises(ValueError, match="0 teachers are in"):
            shard.begin(0)
        shard.begin(1)
        with pytest.raises(ValueError, match="0 of 7 rows"):
            shard.end()
        wrong = ((1, T, C + 1), np.float32), ((8, T, C), np.float32), ((1, T, C), "f2")
        for shape, dtype in wrong:
            with pytest.raises(ValueError, match="after 0 of 7 rows"):
                shard.write(np.zeros(shape, dtype))
