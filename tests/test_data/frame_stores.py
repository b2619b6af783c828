"""A small store of frames, and data whose slices it is of."""

import dataclasses

import numpy as np

from jaxsed.data.frame_store import FrameStore, StoredFrames
from tests.test_data.fakes import FakeData

ENCODER = {"encoder": "tiny", "sha256": "0123456789abcdef"}
ARRAYS = (("aligned", (25, 4)), ("summary", (3,)))
SLICES = 7  # of 1 s: clips of 3.5 s, 0.5 s and 2 s


class FakeClips(FakeData):
    """Clips of several slices."""

    def __init__(self, directory, seconds=(3.5, 0.5, 2.0)):
        super().__init__(len(seconds), np.array(seconds))
        self.durations, self.directory, self.labels = self.seconds, directory, "multi"


def frames_of(rows):
    """Frames that tell their slice."""
    rows = np.asarray(rows, np.float16)
    return {
        name: np.broadcast_to(
            rows.reshape(-1, *[1] * len(shape)) + np.float16(k / 4),
            (len(rows), *shape),
        ).copy()
        for k, (name, shape) in enumerate(ARRAYS)
    }


def make_store(parent, **changes):
    store = FrameStore(parent, ENCODER, "fake", "h", 1.0, SLICES, ARRAYS, shard_rows=2)
    return dataclasses.replace(store, **changes)


def write_store(parent, **changes):
    store = make_store(parent, **changes)
    store.create()
    for shard in store.unfinished():
        store.write(shard, frames_of(store.rows(shard)))
    store.tidy()
    return StoredFrames(store)
