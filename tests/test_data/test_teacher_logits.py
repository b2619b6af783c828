import json
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxsed.data import row_shards
from jaxsed.data.pipelines import training_batches
from jaxsed.data.slice_rows import SliceRows
from jaxsed.data.slices import Slices
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from jaxsed.labels.events import FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary
from tests.test_data.fakes import VOCABULARY, FakeData
from tests.test_data.teacher_stores import IDS, C, Stopped, T, open_writer, write


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


def test_a_store_that_was_exchanged_is_noticed_by_who_goes_on(finished, tmp_path):
    data = FakeData(len(IDS), seconds=0.2)
    given = {"seed": 0, "batch_size": 4, "clip_seconds": 0.2, "n_frames": T}
    state = training_batches(data, teacher=TeacherLogits(finished), **given).get_state()
    moved = TeacherLogits(shutil.copytree(finished, tmp_path / "moved"))
    training_batches(data, teacher=moved, **given).set_state(state)
    # Before a state knew its teacher.
    older = {**state, "of": {k: v for k, v in state["of"].items() if k != "teacher"}}
    training_batches(data, teacher=moved, **given).set_state(older)

    description = finished / "teacher_logits.json"
    found = json.loads(description.read_text())
    found["teachers"][0][1] = "another"  # sha256 of its parameters
    description.write_text(json.dumps(found))
    batches = training_batches(data, teacher=TeacherLogits(finished), **given)
    with pytest.raises(InputError, match="reached with teacher='"):
        batches.set_state(state)


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
    assert "clip23" not in store  # what the released code's bug would leave is clip2


def test_an_open_store_can_be_sent_to_a_worker(finished):
    store = TeacherLogits(finished)
    expected = store.get("clip5")
    received = pickle.loads(pickle.dumps(store))
    assert len(pickle.dumps(store)) < 10_000  # no logits in it
    np.testing.assert_array_equal(received.get("clip5"), expected)
    assert received.hits == {"exact": 1}


def test_other_classes_and_other_clips_are_refused(finished, caplog):
    store = TeacherLogits(finished)
    store.check(of_ids(IDS), T)
    swapped = Vocabulary("swapped", ("Bell", "Bark", "Drum"))
    with pytest.raises(InputError, match="another order"):
        store.check(of_ids(IDS, swapped), T)
    with pytest.raises(InputError, match="3 classes, the data has 2"):
        store.check(of_ids(IDS, Vocabulary("two", ("Bell", "Bark"))), T)
    with pytest.raises(InputError, match="none of the 2 clips"):
        store.check(of_ids(["x", "y"]), T)
    with caplog.at_level("WARNING"):
        store.check(of_ids(["clip1", "y"]), T)
    assert "1 exact, 0 respelled, 0 truncated, 1 miss" in caplog.text


def of_ids(ids, vocabulary=VOCABULARY, seconds=T * FRAME_SECONDS):
    """Clips of 0.2 s, as long as a row of the store, or of other lengths."""
    data = FakeData(len(ids), seconds)
    data.ids, data.vocabulary = ids, vocabulary
    return data


LONG_FRAMES = [5, 13, 5, 10]  # of clips a, b, c, d; in rows of 5
LONG_SECONDS = np.array([0.2, 0.52, 0.28, 0.4])


@pytest.fixture
def long(tmp_path):
    """A store of longer clips, whose logits tell the frame of the clip and the class."""

    def write_long(n_frames=T):
        slices = SliceRows(LONG_FRAMES, T)
        given = {"ids": [*"abcd"], "n_frames": n_frames, "teachers": {"t": "aa"}}
        with open_writer(tmp_path / "long", slices=slices, **given) as writer:
            for number in writer.pending():
                with writer.open_shard(number) as shard:
                    shard.begin(1)
                    _, first, _ = slices.slices(np.array(shard.rows))
                    frames = first[:, None] + np.arange(n_frames)
                    logits = frames[..., None] / 8 - np.arange(C)
                    shard.write(logits.astype(np.float16))
                    shard.end()
        return pickle.loads(pickle.dumps(TeacherLogits(tmp_path / "long")))

    return write_long


def test_frames_of_a_long_clip_are_put_together(long):
    store = long()
    assert (len(store), store.n_frames) == (4, T)
    assert [store.known_frames(name) for name in "abcde"] == [*LONG_FRAMES, None]
    whole = np.arange(15)[:, None] / 8 - np.arange(C)
    np.testing.assert_array_equal(store.get("b"), whole[:13])
    for first, n_frames in ((0, 5), (5, 5), (3, 5), (4, 2), (8, 5), (2, 9), (10, 5)):
        found = store.get("b", first, n_frames)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, whole[first : first + n_frames])
    np.testing.assert_array_equal(store.get("d", 5), whole[5:10])
    np.testing.assert_array_equal(store.row(3), whole[10:15])  # with what fills it up
    assert store.get("e", 5, 5) is None
    for first in (-1, 11):
        with pytest.raises(InputError, match=r"15 label frames of clip 'b', not of"):
            store.get("b", first, 5)


def test_a_long_clip_as_a_whole_has_the_mean_of_its_slices(long):
    store = long(n_frames=1)
    mean = (0 * 5 + 5 * 5 + 10 * 3) / 13
    expected = mean / 8 - np.arange(C)
    assert store.n_frames == store.known_frames("b") == 1
    np.testing.assert_allclose(store.get("b"), expected[None], atol=1e-3)
    np.testing.assert_array_equal(store.get("c"), -np.arange(C)[None])
    store.check(of_ids([*"abcd"], seconds=LONG_SECONDS), 250)


def test_clips_whose_beginning_alone_has_logits_are_refused(long, finished):
    data = of_ids([*"abcd"], seconds=LONG_SECONDS)
    long().check(data, T)
    data.ids = ["clip1", "clip2", "clip3", "nobody"]
    with pytest.raises(InputError, match=r"first 0\.2 s of clip 'clip2', .* 0\.52 s: "):
        TeacherLogits(finished).check(data, T)
    data.ids = ["clip1", "nobody", "clip3", "none"]  # what is missing is counted
    TeacherLogits(finished).check(data, T)


def test_examples_that_rows_do_not_hold_are_refused(long):
    store, data = long(), of_ids([*"abcd"], seconds=LONG_SECONDS)
    with pytest.raises(InputError, match=r"of 0\.2 s in a row, examples last 0\.24 s"):
        store.check(data, 6)
    store.check(data, 4)
    store.check(Slices(data, T * FRAME_SECONDS), T)
    with pytest.raises(InputError, match=r"examples last 0\.16 s: set data\.clip_sec"):
        store.check(Slices(data, 4 * FRAME_SECONDS), 4)


@pytest.mark.parametrize("sliced", [False, True])
def test_examples_of_long_clips_have_the_logits_of_their_window(long, sliced):
    data = of_ids([*"abcd"], seconds=LONG_SECONDS)
    if sliced:  # as the frames of a frozen encoder are
        data = Slices(data, T * FRAME_SECONDS)
    shape = {"clip_seconds": T * FRAME_SECONDS, "n_frames": T, "batch_size": 8}
    stream = training_batches(data, seed=0, threads=0, teacher=long(), **shape)
    places = set()
    for batch in (next(stream) for _ in range(8)):
        assert batch["teacher_valid"].all()
        clips, starts = np.divmod(batch["audio"][:, 0], 1000)  # as `FakeData` says
        frames = starts[:, None] + np.arange(T)
        logits = frames[..., None] / 8 - np.arange(C)
        np.testing.assert_allclose(
            batch["teacher"], 1 / (1 + np.exp(-logits)), atol=5e-4
        )
        places |= set(zip((clips - 1).tolist(), starts.tolist()))
    stream.close()
    last = dict(enumerate([0, 8, 0, 5]))
    if sliced:
        assert places == {(0, 0), (1, 0), (1, 5), (1, 10), (2, 0), (3, 0), (3, 5)}
    else:
        assert all(start <= last[clip] for clip, start in places) and len(places) > 9


def test_folders_that_are_no_store_are_named(tmp_path, finished):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="not a store of teacher logits"):
        TeacherLogits(tmp_path / "folder")
    (finished / "ids.json").write_text('["a", "b"]')
    with pytest.raises(InputError, match="2 ids for the logits of 23 clips"):
        TeacherLogits(finished)
    (finished / "ids.json").write_text("[")
    with pytest.raises(InputError, match=r"ids\.json is missing or damaged"):
        TeacherLogits(finished)
    (finished / "slices.json").write_text('{"slice_frames": 5, "clip_frames": [9]}')
    with pytest.raises(InputError, match=r"slices\.json is damaged \(2 slices\)"):
        TeacherLogits(finished)
