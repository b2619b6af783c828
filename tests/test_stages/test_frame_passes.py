"""A store of frames, whoever computes it and however often they are stopped."""

import concurrent.futures
import hashlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import locks
from jaxsed.data.frame_store import IN_PROGRESS
from jaxsed.data.slices import Slices
from jaxsed.errors import InputError
from jaxsed.stages import frame_passes
from jaxsed.stages.frame_passes import FramePass
from jaxsed.stages.teachers import local_mesh
from tests.test_data.frame_stores import FakeClips, make_store

ARRAYS = (("aligned", (4,)),)
BATCH = 2  # of slices, filled up for the eight devices


@pytest.fixture
def slices(tmp_path):
    return Slices(FakeClips(tmp_path, (3.5, 0.5, 2.0, 6.0)), 1.0)


def store_in(folder, slices):
    settings = {"n_rows": len(slices), "arrays": ARRAYS, "shard_rows": 3}
    return make_store(folder, **settings)


def passes(calls=None, fail_at=None):
    """A pass whose frames tell the first sample of their slice, in units of its clip."""

    def encode(encoder, audio):
        if calls is not None:
            if len(calls) == fail_at:
                raise KeyboardInterrupt
            calls.append(np.asarray(audio)[:, 0])
        frames = jnp.tile(audio[:, :1] / 1000, (1, 4)).astype(jnp.float16)
        return {"aligned": frames}, audio[:, 0] != 5050  # clip 4, slice 2

    return FramePass(encode, {}, mesh=local_mesh(), sample_rate=16000, batch_size=BATCH)


def contents(store):
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in store.folder.iterdir()
    }


@pytest.fixture
def whole(slices, tmp_path):
    store = store_in(tmp_path / "whole", slices)
    stored = passes().run(store, slices, "whole")
    firsts = [1.0, 1.025, 1.05, 1.075, 2.0, 3.0, 3.025]
    firsts += [4.0 + k / 40 for k in range(6)]
    for row, first in enumerate(firsts):
        assert stored[row]["aligned"] == pytest.approx(first, rel=2**-10)
    return contents(store)


def test_a_stopped_pass_goes_on_with_the_shards_that_are_missing(
    slices, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(frame_passes, "_TAKEN_SHARDS", 2)
    store, calls = store_in(tmp_path / "stopped", slices), []
    with pytest.raises(KeyboardInterrupt):
        passes(calls, fail_at=3).run(store, slices, "stopped")
    assert store.unfinished() == [2, 3, 4] or store.unfinished() == [1, 2, 3, 4]
    left = len(store.unfinished())
    again = []
    passes(again).run(store, slices, "again")
    assert len(again) == left
    assert contents(store) == whole
    passes(again, fail_at=left).run(store, slices, "finished")


def test_two_that_start_at_once_share_the_work(slices, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(frame_passes, "_TAKEN_SHARDS", 1)
    monkeypatch.setattr(frame_passes, "POLL_SECONDS", 0.01)
    store, calls = store_in(tmp_path / "two", slices), []
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for run in [
            threads.submit(passes(calls).run, store, slices, "") for _ in range(2)
        ]:
            assert len(run.result()) == len(slices)
    assert len(calls) == store.n_shards
    assert contents(store) == whole


def test_who_finds_all_taken_waits_and_takes_over_from_the_dead(
    slices, whole, tmp_path, monkeypatch
):
    store = store_in(tmp_path / "taken", slices)
    store.create()
    (store.folder / IN_PROGRESS).mkdir(exist_ok=True)
    held = locks.take(store.folder / IN_PROGRESS / "00001.lock", "shard 1")
    waits = []

    def wait(seconds):
        waits.append(store.unfinished())
        held.close()

    monkeypatch.setattr(frame_passes.time, "sleep", wait)
    passes().run(store, slices, "waiting")
    assert waits == [[1]]
    assert contents(store) == whole


def test_frames_that_are_not_finite_name_their_slice(tmp_path):
    slices = Slices(FakeClips(tmp_path, (1.0, 1.0, 1.0, 1.0, 3.0)), 1.0)
    with pytest.raises(InputError, match=r"'clip4@2'.* weights are broken"):
        passes().run(store_in(tmp_path, slices), slices, "broken")


def test_a_folder_that_cannot_be_written_is_named_and_not_waited_for(
    slices, tmp_path, monkeypatch
):
    def take(path, what):
        raise InputError(f"{what} cannot be written to") from PermissionError()

    monkeypatch.setattr(locks, "take", take)
    with pytest.raises(InputError, match=r"shard 0 of .* cannot be written"):
        passes().run(store_in(tmp_path, slices), slices, "read-only")
