"""The published file of the ensemble's logits, as `TeacherLogits` reads it."""

import pickle
import sys

import h5py
import numpy as np
import pytest

from jaxsed.data.pipelines import training_batches
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from tests.test_data.fakes import FakeData
from tests.test_data.teacher_stores import C, T


@pytest.fixture
def published(tmp_path):
    """As released: class-major, the stems that `rstrip('.mp3')` left; one is spared."""
    videos = ["abcdefghij0", "abcdefghi3m", "klmnopqrstu", "vwxyzabcpm3"]
    logits = np.random.default_rng(1).normal(0, 3, (4, C, 250)).astype(np.float16)
    file = tmp_path / "pseudo.hdf5"
    with h5py.File(file, "w") as opened:
        names = [f"Y{video}.mp3".rstrip(".mp3") for video in videos[:3]]
        opened["filenames"] = [*names, f"Y{videos[3]}"]
        opened["strong_logits"] = logits
    return file, videos, logits


def test_the_published_file_is_read_time_major(published):
    file, videos, logits = published
    store = TeacherLogits(file)
    assert (len(store), store.n_frames, store.n_classes) == (4, 250, C)
    for row, video in enumerate(videos):
        found = store.get(f"{video}_30000")
        assert found.flags.c_contiguous and found.dtype == np.float16
        np.testing.assert_array_equal(found, logits[row].T)
    # Neither as it is nor cut short: of another clip with the same beginning, too.
    assert store.get("zzzzzzzzzzz_0") is None and store.get("abcdefghij1_0") is None
    assert store.hits == {"respelled": 3, "truncated": 1, "miss": 2}
    assert store.misses == 2
    assert [store.get(f"Y{video}.mp3") is None for video in videos] == [False] * 4
    received = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(received.get(videos[2]), logits[2].T)
    data = FakeData(4, seconds=0.2)
    data.ids, data.durations = np.array(videos), np.full(4, 10.05)
    store.check(data, 250)
    data.durations = np.array([10.0, 10.0, 30.0, 10.0])
    with pytest.raises(InputError, match=r"first 10 s of clip 'klm.* leave long clips"):
        store.check(data, 250)


def test_a_file_is_told_from_another_of_its_name(published):
    file, _, logits = published
    before = TeacherLogits(file).hash
    assert TeacherLogits(file).hash == before
    with h5py.File(file, "r+") as opened:
        opened["strong_logits"][...] = logits + 1
    assert TeacherLogits(file).hash != before


def test_the_published_file_feeds_the_loader_in_threads_and_workers(published):
    file, videos, logits = published
    data = FakeData(4, seconds=10.0)
    data.ids = np.array([f"{video}_30000" for video in videos])
    for workers in (0, 1):
        stream = training_batches(
            data, seed=0, batch_size=4, teacher=TeacherLogits(file), workers=workers
        )
        batch = next(stream)
        stream.close()
        assert batch["teacher_valid"].all()
        wanted = logits[batch["index"]].transpose(0, 2, 1).astype(np.float64)
        expected = 1 / (1 + np.exp(-wanted))
        np.testing.assert_allclose(batch["teacher"], expected, atol=5e-4)


def test_logits_of_whole_clips_are_one_frame(tmp_path):
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    with h5py.File(tmp_path / "clips.hdf5", "w") as file:
        file["filenames"], file["clip_logits"] = [b"a", b"b", b"c"], logits
    store = TeacherLogits(tmp_path / "clips.hdf5")
    assert (store.n_clips, store.n_frames, store.n_classes) == (3, 1, 4)
    np.testing.assert_array_equal(store.get("b"), logits[1:2].astype(np.float16))
    with h5py.File(tmp_path / "odd.hdf5", "w") as file:
        file["filenames"], file["clip_logits"] = [b"a", b"b"], logits
    with pytest.raises(InputError, match=r"clip_logits \[clips, classes\] and as many"):
        TeacherLogits(tmp_path / "odd.hdf5")


def test_h5py_is_asked_for_by_name(published, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"pip install 'jaxsed\[hdf5\]'"):
        TeacherLogits(published[0])


def test_files_that_are_no_store_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        TeacherLogits(tmp_path / "missing.hdf5")
    (tmp_path / "text.hdf5").write_text("not HDF5")
    with pytest.raises(InputError, match="not an HDF5 file"):
        TeacherLogits(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "other.hdf5", "w") as opened:
        opened["mp3"] = np.zeros(3)
    with pytest.raises(InputError, match="the file holds mp3"):
        TeacherLogits(tmp_path / "other.hdf5")
    with h5py.File(tmp_path / "flat.hdf5", "w") as opened:
        opened["filenames"] = [b"a"]
        opened["strong_logits"] = np.zeros((2, C, T))
    with pytest.raises(InputError, match="as many filenames"):
        TeacherLogits(tmp_path / "flat.hdf5")
