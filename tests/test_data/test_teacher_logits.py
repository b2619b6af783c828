import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from jaxsed.data import row_shards
from jaxsed.data.pipelines import training_batches
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from tests.test_data.fakes import VOCABULARY, FakeData
from tests.test_data.teacher_stores import (
    IDS,
    C,
    Stopped,
    T,
    write,
)


@pytest.fixture
def finished(tmp_path):
    write(tmp_path / "store")
    return tmp_path / "store"


def test_unfinished_stores_are_not_read(tmp_path):
    with pytest.raises(Stopped):
        write(tmp_path, limit=4)
    with pytest.raises(InputError, match=r"not finished: 2 of 3 shards .*atst_1, fp"):
        TeacherLogits(tmp_path)


def test_a_changed_byte_is_found_where_it_is(finished):
    store = TeacherLogits(finished)
    store.get("clip9")
    with open(finished / "logits-00001.f16", "r+b") as file:
        file.seek(2 * T * C + 5)  # second clip of the second shard
        file.write(b"\x55")
    store.get("clip8")
    with pytest.raises(InputError, match=r"00001\.f16 is damaged at row 9 .*checksum"):
        store.get("clip9")


def test_few_files_are_open_and_threads_share_them(finished, monkeypatch):
    monkeypatch.setattr(row_shards, "_OPEN_SHARDS", 1)
    store = TeacherLogits(finished)
    expected = {clip: store.get(clip).copy() for clip in IDS}
    wrong = []

    def read(seed):
        for row in np.random.default_rng(seed).integers(len(IDS), size=200):
            found = store.get(IDS[row])
            if not np.array_equal(found, expected[IDS[row]]):
                wrong.append(row)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(read, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert len(store._store._rows._files) == 1
    assert store.hits == {"exact": 4 * 200 + len(IDS)}


def test_hits_and_misses_are_counted(finished):
    store = TeacherLogits(finished)
    for clip_id in ("clip1", "clip2.wav", "nobody", "clip3", "nobody"):
        assert (store.get(clip_id) is None) == (clip_id == "nobody")
    assert store.misses == 2
    assert store.hits == {"exact": 2, "respelled": 1, "miss": 2}
    counts = store.coverage(["clip1", "clip2.wav", "nobody"])
    assert counts == {"exact": 1, "respelled": 1, "truncated": 0, "miss": 1}
    assert "clip1" in store and "nobody" not in store


def test_an_open_store_can_be_sent_to_a_worker(finished):
    store = TeacherLogits(finished)
    expected = store.get("clip5")
    received = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 10_000  # no logits in it
    np.testing.assert_array_equal(received.get("clip5"), expected)
    assert received.hits == {"exact": 1}


def test_other_classes_and_other_clips_are_refused(finished, caplog):
    store = TeacherLogits(finished)
    store.check(VOCABULARY, IDS)
    swapped = Vocabulary("swapped", ("Bell", "Bark", "Drum"))
    with pytest.raises(InputError, match="another order"):
        store.check(swapped, IDS)
    with pytest.raises(InputError, match="3 classes, the data has 2"):
        store.check(Vocabulary("two", ("Bell", "Bark")), IDS)
    with pytest.raises(InputError, match="none of the 2 clips"):
        store.check(VOCABULARY, ["x", "y"])
    with caplog.at_level("WARNING"):
        store.check(VOCABULARY, ["clip1", "y"])
    assert "1 exact, 0 respelled, 0 truncated, 1 miss" in caplog.text


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
    store.check(VOCABULARY, np.array(videos))


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


def test_files_that_are_no_store_are_named(tmp_path, finished):
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
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a store of teacher logits"):
        TeacherLogits(tmp_path / "folder")
    (finished / "ids.json").write_text('["a", "b"]')
    with pytest.raises(InputError, match="2 ids for the logits of 23 clips"):
        TeacherLogits(finished)
    (finished / "ids.json").write_text("[")
    with pytest.raises(InputError, match=r"ids\.json is missing or damaged"):
        TeacherLogits(finished)
