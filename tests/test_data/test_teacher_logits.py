import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest

from jaxsed.data import teacher_writer
from jaxsed.data.pipelines import training_batches
from jaxsed.data.teacher_logits import TeacherLogits, TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from tests.test_data.fakes import VOCABULARY, FakeData

N, T, C = 23, 5, len(VOCABULARY)
IDS = [f"clip{i}" for i in range(N)]
TEACHERS = ("atst_1", "fpasst_1", "fpasst_2")


def logits_of(teacher, rows):
    rng = np.random.default_rng(TEACHERS.index(teacher))
    return rng.normal(0, 4, (N, T, C)).astype(np.float32)[rows]


def write(folder, teachers=TEACHERS, limit=10**9, step=4):
    """Adds up to `limit` batches of clips; returns whether everything was written."""
    with TeacherLogitsWriter(folder, IDS, T, VOCABULARY) as writer:
        for teacher in teachers:
            pending = writer.pending(teacher)
            for start in range(0, len(pending), step):
                if not limit:
                    return False
                rows = pending[start : start + step]
                writer.add(teacher, rows, logits_of(teacher, rows))
                limit -= 1
        writer.finish()
    return True


def contents(folder):
    return (folder / "logits.f16").read_bytes()


@pytest.fixture
def finished(tmp_path):
    write(tmp_path / "store")
    return tmp_path / "store"


def test_the_mean_of_the_teachers_is_stored(finished):
    store = TeacherLogits(finished)
    assert (len(store), store.n_frames, store.n_classes) == (N, T, C)
    expected = np.mean([logits_of(name, slice(None)) for name in TEACHERS], axis=0)
    for row, clip_id in enumerate(IDS):
        logits = store.get(clip_id)
        assert logits.dtype == np.float16
        np.testing.assert_allclose(logits, expected[row], rtol=2**-10, atol=1e-6)
    assert sorted(p.name for p in finished.iterdir()) == [
        "ids.json",
        "lock",
        "logits.f16",
        "teacher_logits.json",
    ]


def test_one_teacher_is_its_own_mean(tmp_path):
    write(tmp_path, TEACHERS[:1])
    stored = np.stack([TeacherLogits(tmp_path).get(clip_id) for clip_id in IDS])
    np.testing.assert_array_equal(
        stored, logits_of("atst_1", slice(None)).astype(np.float16)
    )


@pytest.mark.parametrize("limits", [(1, 1, 1), (5,), (6,), (7, 6), (17,), (2, 15)])
def test_interrupted_writing_gives_the_same_bits(tmp_path, finished, limits):
    folder = tmp_path / "interrupted"
    for limit in limits:
        assert not write(folder, limit=limit)
    assert write(folder)
    assert contents(folder) == contents(finished)


@pytest.mark.parametrize("where", ["bits", "describe", "data", "finish"])
@pytest.mark.parametrize("nth", [0, 1, 3])
def test_killed_writing_gives_the_same_bits(tmp_path, finished, where, nth):
    """os._exit at the worst moments: between two things that belong together."""
    folder = tmp_path / "killed"
    code = f"""
import os
import numpy as np
from jaxsed.data import teacher_writer
from tests.test_data import test_teacher_logits as test

teacher_writer._FLUSH_BYTES = 500  # two batches of clips
count = 0

def killing(function, after):
    def wrapped(*args, **kwargs):
        global count
        count += 1
        if count > {nth} and not after:
            os._exit(9)
        result = function(*args, **kwargs)
        if count > {nth} and after:
            os._exit(9)
        return result
    return wrapped

writer = teacher_writer.TeacherLogitsWriter
if {where!r} == "bits":
    np.packbits = killing(np.packbits, after=False)
elif {where!r} == "describe":
    writer._complete = killing(writer._complete, after=False)
    writer._describe = killing(writer._describe, after=True)
elif {where!r} == "data":
    writer._check = killing(writer._check, after=True)
else:
    os.replace = killing(os.replace, after=({nth} % 2 == 0))
from pathlib import Path
test.write(Path({str(folder)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert killed.returncode == 9, killed.stderr.decode()
    assert write(folder)
    assert contents(folder) == contents(finished)


def test_killed_between_the_last_rows_and_the_teachers_name(tmp_path, finished):
    folder = tmp_path / "store"
    with TeacherLogitsWriter(folder.parent / "b", IDS, T, VOCABULARY) as writer:
        writer._complete = lambda teacher: writer.flush()  # never noted down
        writer.add("atst_1", np.arange(N), logits_of("atst_1", slice(None)))
        assert writer.teachers == ()
    with TeacherLogitsWriter(folder.parent / "b", IDS, T, VOCABULARY) as writer:
        assert writer.teachers == ("atst_1",)
        assert not len(writer.pending("atst_1"))
    write(folder.parent / "b")
    assert contents(folder.parent / "b") == contents(finished)


def test_rows_may_be_added_twice_and_in_any_order(tmp_path, finished):
    folder = tmp_path / "shuffled"
    rng = np.random.default_rng(0)
    with TeacherLogitsWriter(folder, IDS, T, VOCABULARY) as writer:
        for teacher in TEACHERS:
            while len(pending := writer.pending(teacher)):
                missing = rng.choice(pending, min(5, len(pending)), replace=False)
                known = np.setdiff1d(np.arange(N), pending)[:2]
                rows = np.concatenate([missing, known])
                writer.add(teacher, rows, logits_of(teacher, rows))
            writer.add(teacher, np.arange(2), np.zeros((2, T, C)))  # ignored
        writer.finish()
        writer.finish()
        writer.add("late", np.arange(2), np.zeros((2, T, C)))  # ignored
    assert contents(folder) == contents(finished)


def test_disk_use_is_bounded(tmp_path):
    largest = 0
    with TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY) as writer:
        for teacher in TEACHERS:
            for rows in (np.arange(10), np.arange(10, N)):
                writer.add(teacher, rows, logits_of(teacher, rows))
                sizes = [p.stat().st_size for p in tmp_path.glob("*.f*")]
                largest = max(largest, sum(sizes))
    assert largest == 2 * 4 * N * T * C


def test_unfinished_stores_are_not_read(tmp_path):
    write(tmp_path, limit=7)
    with pytest.raises(InputError, match=r"not finished .*\['atst_1'\]"):
        TeacherLogits(tmp_path)


def test_unfinished_teachers_are_in_the_way(tmp_path):
    with TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY) as writer:
        with pytest.raises(InputError, match="no teacher yet"):
            writer.finish()
        writer.add("atst_1", [0], np.zeros((1, T, C)))
        assert len(writer.pending("fpasst_1")) == N
        with pytest.raises(InputError, match=r"'atst_1' is incomplete \(22 clips left"):
            writer.add("fpasst_1", [0], np.zeros((1, T, C)))
        with pytest.raises(InputError, match="'atst_1' is incomplete"):
            writer.finish()


def test_only_one_process_writes(tmp_path):
    first = TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY)
    with pytest.raises(InputError, match="another process"):
        TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY)
    first.close()
    TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY).close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IDS[:-1], T, VOCABULARY), "another shape"),
        ((IDS, T + 1, VOCABULARY), "another shape"),
        ((IDS[::-1], T, VOCABULARY), "another clip ids"),
        ((IDS, T, Vocabulary("x", ("Bell", "Bark", "Drum"))), "another vocabulary"),
    ],
)
def test_a_store_of_something_else_is_not_gone_on_with(tmp_path, arguments, message):
    write(tmp_path, limit=3)
    with pytest.raises(InputError, match=message):
        TeacherLogitsWriter(tmp_path, *arguments)
    assert write(tmp_path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_logits_name_the_clip(tmp_path, bad):
    logits = np.zeros((3, T, C))
    logits[1, 2, 0] = bad
    with TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY) as writer:
        with pytest.raises(InputError, match=r"'atst_1' .* clip 'clip7'"):
            writer.add("atst_1", [6, 7, 8], logits)
        assert len(writer.pending("atst_1")) == N


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    writer = TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY)
    with pytest.raises(InputError, match="No space left"):
        writer.add("atst_1", [0], np.zeros((1, T, C)))
    writer.close()
    monkeypatch.undo()
    assert write(tmp_path)


def test_huge_logits_stay_finite(tmp_path):
    with TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY) as writer:
        writer.add("atst_1", np.arange(N), np.full((N, T, C), 1e6))
        writer.finish()
    assert (TeacherLogits(tmp_path).get("clip0") == 65504).all()


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
    """As released: class-major, the stems that `rstrip('.mp3')` left."""
    videos = ["abcdefghij0", "abcdefghi3m", "klmnopqrstu"]
    logits = np.random.default_rng(1).normal(0, 3, (3, C, 250)).astype(np.float16)
    file = tmp_path / "pseudo.hdf5"
    with h5py.File(file, "w") as opened:
        names = [f"Y{video}.mp3".rstrip(".mp3").encode() for video in videos]
        opened["filenames"] = names
        opened["strong_logits"] = logits
    return file, videos, logits


def test_the_published_file_is_read_time_major(published):
    file, videos, logits = published
    store = TeacherLogits(file)
    assert (len(store), store.n_frames, store.n_classes) == (3, 250, C)
    for row, video in enumerate(videos):
        found = store.get(f"{video}_30000")
        assert found.flags.c_contiguous and found.dtype == np.float16
        np.testing.assert_array_equal(found, logits[row].T)
    assert store.get("zzzzzzzzzzz_0") is None
    assert store.hits == {"respelled": 2, "truncated": 1, "miss": 1}
    received = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(received.get(videos[2]), logits[2].T)
    store.check(VOCABULARY, np.array(videos))


def test_the_published_file_feeds_the_loader_in_threads_and_workers(published):
    file, videos, logits = published
    data = FakeData(3, seconds=10.0)
    data.ids = np.array([f"{video}_30000" for video in videos])
    for workers in (0, 1):
        stream = training_batches(
            data, seed=0, batch_size=3, teacher=TeacherLogits(file), workers=workers
        )
        batch = next(stream)
        stream.close()
        assert batch["teacher_valid"].all()
        wanted = logits[batch["index"]].transpose(0, 2, 1).astype(np.float64)
        expected = 1 / (1 + np.exp(-wanted))
        np.testing.assert_allclose(batch["teacher"], expected, atol=5e-4)


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
    (finished / "logits.f16").write_bytes(b"cut off")
    with pytest.raises(InputError, match="7 of 690 bytes"):
        TeacherLogits(finished)


def test_flushing_is_not_left_to_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_writer, "_FLUSH_BYTES", 4 * 4 * T * C)
    writer = TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY)
    writer.add("atst_1", np.arange(4), np.zeros((4, T, C)))
    writer._lock_file.close()  # as a kill would
    with TeacherLogitsWriter(tmp_path, IDS, T, VOCABULARY) as again:
        assert len(again.pending("atst_1")) == N - 4
