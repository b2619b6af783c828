"""A small store of teacher logits, and a way to write it that can be stopped."""

import hashlib

import numpy as np

from jaxsed.data.teacher_writer import TeacherLogitsWriter
from tests.test_data.fakes import VOCABULARY

N, T, C = 23, 5, len(VOCABULARY)
IDS = [f"clip{i}" for i in range(N)]
SHARD_CLIPS = 8  # the last one has 7
N_SHARDS = 3
TEACHERS = {"atst_1": "aa", "fpasst_1": "bb", "fpasst_2": "cc"}


class Stopped(Exception):
    """In place of a kill, where the process is to live on."""


def logits_of(teacher):
    """float32 `[clips, t, c]`."""
    rng = np.random.default_rng(list(TEACHERS).index(teacher))
    return rng.normal(0, 4, (N, T, C)).astype(np.float32)


def open_writer(folder, **changes):
    given = {"ids": IDS, "n_frames": T, "vocabulary": VOCABULARY, "teachers": TEACHERS}
    given |= {"shard_clips": SHARD_CLIPS, "data_hash": "d", **changes}
    return TeacherLogitsWriter(folder, **given)


def write(folder, at_once=3, limit=10**9, batch=3, part=(0, 1), shards=None):
    """Writes up to `limit` batches of a part of the store.

    Raises:
        Stopped: there are more.
    """
    with open_writer(folder) as writer:
        pending = writer.pending(*part) if shards is None else shards
        for number in pending:
            with writer.open_shard(number) as shard:
                for stop in [*range(at_once, len(TEACHERS), at_once), len(TEACHERS)]:
                    if not shard.finished and shard.n_summed < stop:
                        limit = _add(shard, stop, batch, limit)


def _add(shard, n_teachers, batch, limit):
    names = list(TEACHERS)[shard.n_summed : n_teachers]
    done = shard.begin(n_teachers, batch)
    for start in range(done, len(shard), batch):
        if not limit:
            raise Stopped
        limit -= 1
        stop = min(start + batch, len(shard))
        sums = shard.before(start, stop)
        if sums is None:
            sums = np.zeros((stop - start, T, C), np.float32)
        for name in names:
            sums = sums + logits_of(name)[shard.rows[start:stop]]
        shard.write(as_written(shard, sums))
    shard.end()
    return limit


def as_written(shard, sums):
    """The float16 mean in the last pass."""
    n_teachers = np.float32(len(TEACHERS))
    return (sums / n_teachers).astype(np.float16) if shard.is_last else sums


def contents(folder):
    """Digest of every file of a store but its locks."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
