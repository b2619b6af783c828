"""The store: what goes in comes out, kills cost nothing, wrong input is named."""

import json

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import score_files, scores
from jaxsed.evaluation.scores import ScoreStore
from tests.test_evaluation import cases

IDS = ["a", "clip with spaces ü", "c"]


def make(path, **changes):
    arguments = {
        "ids": IDS,
        "vocabulary": cases.vocabulary(4),
        "durations": [10.0, 9.5, 10.0],
        "n_frames": 6,
        "provenance": {"model": "abc", "data": "def"},
    }
    return ScoreStore.create(path, **(arguments | changes))


def logits_of(seed, n=3):
    return np.random.default_rng(seed).normal(size=(n, 6, 4)).astype(np.float32)


def test_round_trip_in_any_order(tmp_path):
    logits = logits_of(0)
    store = make(tmp_path / "s")
    store.write([2, 0], logits[[2, 0]])
    store.write([1], logits[[1]])
    read = ScoreStore(tmp_path / "s")
    assert read.ids == IDS
    assert read.vocabulary == cases.vocabulary(4)
    assert read.provenance == {"model": "abc", "data": "def"}
    assert read.frame_seconds == 0.04
    assert read.logits.dtype == np.float16
    np.testing.assert_array_equal(read.durations, [10.0, 9.5, 10.0])
    np.testing.assert_array_equal(read.logits, logits.astype(np.float16))
    np.testing.assert_array_equal(
        read.timestamps(0), [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24]
    )
    with pytest.raises(ValueError, match="read-only"):
        read.logits[0] = 0


def test_a_killed_run_goes_on(tmp_path):
    first = make(tmp_path / "s")
    first.write([1], logits_of(1, 1))
    del first
    again = make(tmp_path / "s")
    np.testing.assert_array_equal(again.missing_rows(), [0, 2])
    assert again.row(IDS[1]) == 1
    assert again.row("a") is None
    assert again.row("never heard of") is None
    np.testing.assert_array_equal(again.logits[1], logits_of(1, 1)[0].astype("f2"))


def test_what_is_written_anew_does_not_pass_as_written(tmp_path):
    store = make(tmp_path / "s")
    store.write([0, 1, 2], logits_of(1))
    store.forget()
    store.write([1], logits_of(2, 1))
    read = ScoreStore(tmp_path / "s")
    assert read.missing_rows().tolist() == [0, 2]
    np.testing.assert_array_equal(read.logits[1], logits_of(2, 1)[0].astype("f2"))


def test_a_kill_before_the_mark_repeats_the_row(tmp_path, monkeypatch):
    store = make(tmp_path / "s")
    monkeypatch.setattr(store._logits, "flush", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        store.write([0], logits_of(0, 1))
    np.testing.assert_array_equal(make(tmp_path / "s").missing_rows(), [0, 1, 2])


def test_a_kill_while_the_files_are_made_starts_afresh(tmp_path):
    make(tmp_path / "s").write([0], logits_of(0, 1))
    (tmp_path / "s" / "scores.json").unlink()  # is written last
    np.testing.assert_array_equal(make(tmp_path / "s").missing_rows(), [0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"provenance": {"model": "another"}}, "provenance"),
        ({"ids": ["a", "b", "c"]}, "ids"),
        ({"vocabulary": cases.vocabulary(5)}, "vocabulary"),
        ({"n_frames": 7}, "n_frames"),
    ],
)
def test_scores_of_something_else_are_not_overwritten(tmp_path, changes, key):
    make(tmp_path / "s").write([0], logits_of(0, 1))
    with pytest.raises(InputError, match=f"something else \\({key} differs\\)"):
        make(tmp_path / "s", **changes)
    np.testing.assert_array_equal(ScoreStore(tmp_path / "s").missing_rows(), [1, 2])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e5])
def test_values_that_are_not_finite_name_the_clip_and_write_nothing(tmp_path, value):
    store = make(tmp_path / "s")
    logits = logits_of(0, 2)
    logits[1, 3, 2] = value
    with pytest.raises(InputError, match="clip 'clip with spaces ü' are not finite"):
        store.write([0, 1], logits)
    np.testing.assert_array_equal(store.missing_rows(), [0, 1, 2])


def test_wrong_shapes_and_rows_are_refused(tmp_path):
    store = make(tmp_path / "s")
    with pytest.raises(InputError, match=r"\[1, 6, 4\], expected \[2, 6, 4\]"):
        store.write([0, 1], logits_of(0, 1))
    with pytest.raises(InputError, match="outside 0 to 2"):
        store.write([3], logits_of(0, 1))
    with pytest.raises(InputError, match="outside 0 to 2"):
        store.write([-1], logits_of(0, 1))
    with pytest.raises(InputError, match="'a' occurs twice"):
        make(tmp_path / "t", ids=["a", "b", "a"])
    with pytest.raises(InputError, match="2 durations for 3 clips"):
        make(tmp_path / "t", durations=[1.0, 2.0])
    with pytest.raises(InputError, match="at least one clip"):
        make(tmp_path / "t", ids=[], durations=None)
    assert not (tmp_path / "t").exists()


def test_damaged_stores_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no scores\.json"):
        ScoreStore(tmp_path)
    make(tmp_path / "s")
    (tmp_path / "s" / "logits.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(InputError, match=r"logits\.npy or written\.npy is missing or"):
        ScoreStore(tmp_path / "s")
    np.save(tmp_path / "s" / "logits.npy", np.zeros((3, 6, 5), np.float16))
    with pytest.raises(InputError, match="3 clips and 4 classes"):
        ScoreStore(tmp_path / "s")
    # A pickle must never be loaded.
    np.save(tmp_path / "s" / "logits.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match="damaged"):
        ScoreStore(tmp_path / "s")
    (tmp_path / "s" / "scores.json").write_text(json.dumps({"format": "other"}))
    with pytest.raises(InputError, match='expected "format"'):
        ScoreStore(tmp_path / "s")
    (tmp_path / "s" / "scores.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        ScoreStore(tmp_path / "s")


def test_a_full_disk_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(score_files.os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"0\.00 GB .*No space left on device"):
        make(tmp_path / "s")
    with pytest.raises(InputError, match=r"no scores\.json"):
        ScoreStore(tmp_path / "s")


def test_blocks_read_classes_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "_BLOCK_BYTES", 2 * 2 * 6 * 4)  # two clips
    logits = logits_of(2).astype(np.float16)
    store = make(tmp_path / "s")
    store.write([0, 1, 2], logits)
    rows, columns = [2, 0, 1], [3, 1]
    clips, blocks = zip(*store.blocks(rows, columns), strict=True)
    assert clips == (range(2), range(2, 3))
    for place, column in enumerate(columns):
        read = np.concatenate([block[place] for block in blocks])
        assert read.dtype == np.float16
        np.testing.assert_array_equal(read, logits[rows][:, :, column].ravel())


def ragged(path, **changes):
    return make(path, n_frames=[2, 7, 4], durations=[0.08, 0.25, 0.16], **changes)


def test_clips_of_different_lengths_lie_one_after_the_other(tmp_path, monkeypatch):
    logits = np.random.default_rng(3).normal(size=(3, 7, 4)).astype(np.float16)
    store = ragged(tmp_path / "s")
    # Slices of 3 frames, those of a clip in order; what fills up the last is dropped.
    store.write([1, 0], logits[[1, 0], :3], [0, 0])
    store.write([1, 2], logits[[1, 2], 3:6] * [[[1]], [[2]]], [3, 0])
    assert store.written.tolist() == [True, False, False]
    store.write([2, 1], np.stack([logits[2, :3], logits[1, [6, 0, 0]]]), [3, 6])
    assert ragged(tmp_path / "s").written.all()  # and can be gone on with
    read = ScoreStore(tmp_path / "s")
    assert read.n_frames.tolist() == [2, 7, 4]
    expected = [
        logits[0, :2],
        logits[1],
        np.concatenate([logits[2, 3:6] * np.float16(2), logits[2, :1]]),
    ]
    for found, of_clip in zip(read.logits, expected, strict=True):
        np.testing.assert_array_equal(found, of_clip)
    assert not read.logits[1].flags.writeable
    np.testing.assert_array_equal(read.timestamps(2), [0, 0.04, 0.08, 0.12, 0.16])
    assert read.timestamps(0) is read.timestamps(0)
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 8)
    rows = [0, 2, 1]
    clips, blocks = zip(*read.blocks(rows, [3, 1]), strict=True)
    assert clips == (range(2), range(2, 3))
    for place, column in enumerate([3, 1]):
        frames = np.concatenate([block[place] for block in blocks])
        every = np.concatenate([expected[row][:, column] for row in rows])
        np.testing.assert_array_equal(frames, every)


def test_parts_of_clips_are_checked(tmp_path):
    store = ragged(tmp_path / "s")
    with pytest.raises(InputError, match=r"\[2, 2, 4\], expected \[2, 7, 4\]"):
        store.write([0, 1], logits_of(0, 2)[:, :2])  # whole clips, of different lengths
    for first in (-1, 4):
        with pytest.raises(InputError, match="begin outside their clips"):
            store.write([2], logits_of(0, 1)[:, :3], [first])
    with pytest.raises(InputError, match="of 2 clips for 3"):
        make(tmp_path / "t", n_frames=[2, 7])
    with pytest.raises(InputError, match=r"else \(n_frames differs\)"):
        make(tmp_path / "s", n_frames=[2, 7, 5], durations=[0.08, 0.25, 0.16])
    assert not store.written.any()


def test_a_store_of_equal_clips_is_as_it_always_was(tmp_path):
    """So that earlier versions read it, and this one reads theirs."""
    make(tmp_path / "s", n_frames=[6, 6, 6])
    described = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert described["format"] == "jaxsed-scores-1" and described["n_frames"] == 6
    assert np.load(tmp_path / "s" / "logits.npy").shape == (3, 6, 4)
