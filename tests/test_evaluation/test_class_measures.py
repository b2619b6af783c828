"""Curves and areas against sed_scores_eval, on scores and events that are unkind."""

import subprocess
import sys

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation import class_measures, evaluator, scores
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import Event
from tests.test_evaluation import cases

N_CLASSES = 3
KINDS = ("noise", "few levels", "plateaus", "constant", "lowest and highest", "zeros")


def scores_of(rng, kind, n_frames):
    """`[t, c]`, values that float16 holds."""
    values = np.cumsum(rng.normal(size=(n_frames, N_CLASSES)), axis=0)
    if kind == "few levels":
        values = rng.integers(0, 3, size=values.shape).astype(float)
    elif kind == "plateaus":
        values = np.repeat(rng.normal(size=values.shape).round(1), 7, axis=0)[:n_frames]
    elif kind == "constant":
        values = np.full_like(values, rng.integers(-1, 2))
    elif kind == "lowest and highest":
        values = rng.choice([-65504.0, -6e-8, 0.0, 6e-8, 65504.0], size=values.shape)
    elif kind == "zeros":
        values = rng.choice([-0.0, 0.0, 1.0], size=values.shape)
    return values.astype(np.float16).astype(float)


def events_of(rng, n_clips, seconds, step):
    """Events on a grid, so that overlaps of exactly 70 % occur; some up to the ends."""
    events = {f"clip{i:02d}": [] for i in range(n_clips)}
    for label in range(N_CLASSES):
        for _ in range(rng.integers(1, 2 * n_clips + 1)):
            onset = step * rng.integers(0, max(1, round(seconds / step)))
            offset = min(seconds, onset + step * rng.integers(1, 12))
            if rng.random() < 0.2:
                onset = 0.0
            if rng.random() < 0.2:
                offset = seconds
            if offset > onset:
                clip = f"clip{rng.integers(n_clips):02d}"
                events[clip].append(Event(round(onset, 6), round(offset, 6), label))
        events["clip00"].append(Event(0.0, min(seconds, 1.0), label))
    return events


def borders_of(rng, n_frames, regular):
    if regular:
        return np.round(np.arange(n_frames + 1) * 0.04, 6)
    return np.append(0.0, np.cumsum(rng.uniform(0.01, 0.5, n_frames))).round(
        rng.integers(2, 9)
    )


def check(stored, clips, events, durations, width):
    result = evaluator.evaluate(
        stored,
        events,
        stored.vocabulary,
        durations,
        median_seconds=width * stored.frame_seconds,
    )
    try:
        expected = cases.by_library(clips, events, durations, width)
    except IndexError:  # the library's, where a class has the same counts throughout
        assert min(row["psds1"] for row in result.per_class) == 0
        return result.summary
    for name in ("psds1", "psds1_macro", "pauroc"):
        assert result.summary[name] == pytest.approx(
            expected[name], abs=1e-9, nan_ok=True
        )
    for label, row in enumerate(result.per_class):
        for name in ("psds1", "pauroc"):
            assert row[name] == pytest.approx(
                expected[f"class_{name}"][label], abs=1e-9, nan_ok=True
            )
    return result.summary


@pytest.mark.parametrize("kind", KINDS)
def test_store_equals_the_library(kind, tmp_path, monkeypatch):
    # Several blocks of clips and, with most classes, several chunks.
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 200)
    monkeypatch.setattr(class_measures, "_CHUNKS_BYTES", 1_000_000)
    areas = []
    for seed in range(10):
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        n_clips, n_frames = int(rng.integers(1, 12)), int(rng.integers(5, 80))
        width = int(rng.choice([0, 1, 2, 9, 12]))
        width = min(width, n_frames)  # scipy reads elsewhere with wider windows
        seconds = round(n_frames * 0.04 * rng.choice([0.6, 1, 1.7]), 3)
        events = events_of(rng, n_clips, seconds, 0.02)
        # Much longer clips let false alarms happen: 100 an hour is one in 36 s.
        seconds = round(seconds * rng.choice([1, 20, 100]), 3)
        values = np.stack([scores_of(rng, kind, n_frames) for _ in events])
        store = ScoreStore.create(
            tmp_path / str(seed),
            list(events),
            cases.vocabulary(N_CLASSES),
            n_frames=n_frames,
        )
        store.write(np.arange(n_clips), values)
        durations = dict.fromkeys(events, seconds)
        clips = cases.in_a_store(values, events)
        areas.append(check(store, clips, events, durations, width)["psds1_macro"])
    assert kind == "constant" or max(areas) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_clips_of_any_length_and_frames_equal_the_library(kind):
    for seed in range(6):
        rng = np.random.default_rng([100 + seed, KINDS.index(kind)])
        n_clips, width = int(rng.integers(1, 10)), int(rng.choice([0, 5, 12]))
        clips, durations = {}, {}
        events = events_of(rng, n_clips, 3.0, 0.05)
        for clip_id in events:
            n_frames = int(rng.integers(max(width, 2), 60))
            borders = borders_of(rng, n_frames, regular=seed % 2)
            clips[clip_id] = borders, scores_of(rng, kind, n_frames) / 3
            durations[clip_id] = round(float(rng.uniform(3, 5 + 40 * (seed % 3))), 3)
        stored = cases.MemoryScores(clips)
        # The width in frames is what counts here, whatever a frame is.
        stored.frame_seconds = 0.04
        check(stored, clips, events, durations, width)


def test_a_store_of_clips_of_any_length_equals_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "_BLOCK_FRAMES", 100)
    for seed, kind in enumerate(KINDS * 2):
        rng = np.random.default_rng([200, seed])
        n_clips, width = int(rng.integers(2, 10)), int(rng.choice([0, 1, 5, 12]))
        events = events_of(rng, n_clips, 3.0, 0.02)
        n_frames = rng.integers(max(width, 2), 90, n_clips)
        store = ScoreStore.create(
            tmp_path / str(seed),
            list(events),
            cases.vocabulary(N_CLASSES),
            n_frames=n_frames,
        )
        for row, n in enumerate(n_frames):
            store.write([row], scores_of(rng, kind, n)[None])
        clips = {
            clip_id: (store.timestamps(row), store.logits[row])
            for row, clip_id in enumerate(events)
        }
        durations = {
            clip_id: round(float(rng.uniform(3, 5 + 40 * (seed % 3))), 3)
            for clip_id in events
        }
        check(store, clips, events, durations, width)


def test_false_alarms_up_to_the_limit_count(tmp_path):
    """One false alarm in 36 s is exactly 100 an hour, and still part of the curve."""
    values = np.full((2, 450, 1), -3.0)
    values[0, 25:50] = 2.0  # a false alarm, before the hit
    values[1, 25:50] = 1.0
    store = ScoreStore.create(
        tmp_path / "s", ["a", "b"], cases.vocabulary(1), n_frames=450
    )
    store.write([0, 1], values)
    events = {"a": [Event(10.0, 11.0, 0)], "b": [Event(1.0, 2.0, 0)]}
    for seconds in (18.0, 17.9, 18.1):
        durations = dict.fromkeys(events, seconds)
        check(store, cases.in_a_store(values, events), events, durations, 0)


def test_an_event_too_short_to_need_cover(tmp_path):
    """It rounds to no length: any detection in its clip finds it."""
    values = np.zeros((1, 30, 1))
    values[0, 20] = 1.0
    store = ScoreStore.create(tmp_path / "s", ["a"], cases.vocabulary(1), n_frames=30)
    store.write([0], values)
    events = {"a": [Event(0.1, 0.1 + 4e-7, 0), Event(0.8, 0.84, 0)]}
    clips = cases.in_a_store(values, events)
    summary = check(store, clips, events, {"a": 1.2}, 0)
    assert summary["psds1"] == 1.0


def test_scores_that_are_no_numbers_name_the_clip(tmp_path):
    store = ScoreStore.create(tmp_path / "s", ["a", "b"], cases.vocabulary(2))
    store.write([0, 1], np.zeros((2, 250, 2)))
    events = {"a": [Event(1, 2, 0)], "b": [Event(1, 2, 1)]}
    for value in (np.nan, np.inf, -np.inf):
        broken = np.load(tmp_path / "s" / "logits.npy", mmap_mode="r+")
        broken[1, 3, 1] = value
        with pytest.raises(InputError, match="scores of clip 'b' are not finite"):
            evaluator.evaluate(ScoreStore(tmp_path / "s"), events, store.vocabulary)


def test_it_can_be_stopped(tmp_path, monkeypatch):
    """What interrupts one thread ends the others, and reaches the caller."""
    store = ScoreStore.create(tmp_path / "s", ["a"], cases.vocabulary(4))
    store.write([0], np.zeros((1, 250, 4)))
    events = {"a": [Event(1, 2, label) for label in range(4)]}
    updates = []

    class Bar:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, n):
            updates.append(n)
            raise KeyboardInterrupt

    monkeypatch.setattr(class_measures, "_progress_bar", Bar)
    with pytest.raises(KeyboardInterrupt):
        evaluator.evaluate(store, events, store.vocabulary)
    assert len(updates) <= class_measures._n_cores()


MEMORY = """
import sys
import numpy as np
from pathlib import Path
from jaxsed.evaluation import class_measures, evaluator, scores
from jaxsed.labels.events import Event

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

slow = {"pandas", "scipy", "sed_scores_eval", "jax", "sklearn"}
class_measures._CHUNKS_BYTES = scores._BLOCK_BYTES = 2 << 20
store = scores.ScoreStore(sys.argv[1])
events = {clip: [Event(1, 2, k % 64)] for k, clip in enumerate(store.ids)}
before = peak()
evaluator.evaluate(store, events, store.vocabulary)
assert not slow & set(sys.modules)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_store_and_nothing_slow_is_imported(tmp_path):
    n_clips = 1500  # 48 MB of scores
    store = ScoreStore.create(
        tmp_path / "s",
        [f"clip{k}" for k in range(n_clips)],
        cases.vocabulary(64),
        durations=np.full(n_clips, 10.0),
    )
    block = np.random.default_rng(0).normal(size=(100, 250, 64))
    for start in range(0, n_clips, 100):
        store.write(np.arange(start, start + 100), block)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "s"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 35  # MiB
