"""PSDS curves and pAUROC of all classes from stored scores, on all cores.

Classes are independent of each other. They are taken in chunks, one a thread (numpy
works outside Python's lock); a chunk reads the scores block by block of clips and keeps
two histograms over the thresholds and the clips with events of each class. Memory is
thus bounded whatever the number of clips.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    ThreadPoolExecutor,
    wait,
)
from typing import NamedTuple

import numpy as np

from jaxsed.evaluation import keys, psds
from jaxsed.evaluation.detections import count_changes
from jaxsed.evaluation.pauroc import Segments, SegmentsOfStrip, class_pauroc
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.strips import Block, Layout, Strip, blocks
from jaxsed.evaluation.truth import Truth

# What the chunks at work keep, all together; blocks of scores come on top of it.
_CHUNKS_BYTES = 512 << 20
_MOST_THREADS = 8  # more wait for Python's lock
_BAR_DELAY_SECONDS = 2.0  # what is done by then needs no progress bar


class ClassMeasures(NamedTuple):
    """The measures of a class; None where not asked for.

    Attributes:
        curve: detection curve.
        pauroc: partial AUROC; NaN where there is none.
    """

    curve: psds.DetectionCurve | None
    pauroc: float | None


class _Task(NamedTuple):
    """What the chunks share."""

    scores: ScoreStore | ScoreTables
    truth: Truth
    width_frames: int
    wants_curve: bool
    segments: Segments | None
    advance: Callable[[int], None]


def class_measures(
    scores: ScoreStore | ScoreTables,
    truth: Truth,
    width_frames: int,
    *,
    curves: bool = True,
    pauroc: bool = True,
    progress: bool = True,
) -> dict[int, ClassMeasures]:
    """Computes the measures of all classes of a truth.

    Args:
        scores: stored scores.
        truth: which clips and classes count, and their events.
        width_frames: width of the median filter; 0 is off.
        curves: compute the detection curves.
        pauroc: compute the partial AUROCs.
        progress: show a progress bar on a terminal where it takes long.

    Returns:
        `{class: measures}`, ascending.

    Raises:
        InputError: scores that are not finite numbers.
    """
    n_threads = min(_n_cores(), _MOST_THREADS)
    borders = [scores.timestamps(row) for row in truth.rows]
    segments = Segments(borders, truth.durations) if pauroc else None
    stopped = threading.Event()
    with _progress_bar(len(truth.rows) * len(truth.classes), progress) as bar:

        def advance(n: int) -> None:
            if stopped.is_set():
                raise CancelledError
            bar.update(n)

        task = _Task(scores, truth, width_frames, curves, segments, advance)
        with ThreadPoolExecutor(n_threads) as pool:
            futures = [
                pool.submit(_measure_chunk, task, chunk)
                for chunk in _chunks(scores, truth, n_threads)
            ]
            try:
                for ended in wait(futures, return_when=FIRST_EXCEPTION).done:
                    ended.result()  # raises what ended it
                found = [future.result() for future in futures]
            except BaseException:  # an interrupt too: let the threads end at once
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return {label: of_class for part in found for label, of_class in part.items()}


def _n_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _progress_bar(total: int, shown: bool):
    from tqdm import tqdm

    return tqdm(
        total=total,
        desc="scoring",
        unit="clip x class",
        unit_scale=True,
        disable=None if shown else True,
        delay=_BAR_DELAY_SECONDS,
    )


def _chunks(scores, truth: Truth, n_threads: int) -> Iterator[list[int]]:
    """Divides the classes so that all threads work and the memory suffices."""
    n_frames = [len(scores.timestamps(row)) - 1 for row in truth.rows]
    if scores.dtype == np.float16:
        needed = {
            label: 8 * keys.N_FLOAT16_KEYS
            + 2 * sum(n_frames[clip] for clip in np.unique(events.clip))
            for label, events in truth.events.items()
        }
    else:  # scores, keys and, at worst, a key of its own for each
        needed = dict.fromkeys(truth.classes, 24 * sum(n_frames))
    most = min(_CHUNKS_BYTES, sum(needed.values())) / n_threads
    chunk: list[int] = []
    for label in truth.classes:
        chunk.append(label)
        if sum(needed[member] for member in chunk) >= most:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _measure_chunk(task: _Task, labels: Sequence[int]) -> dict[int, ClassMeasures]:
    tallies = {label: _Tally(task, label) for label in labels}
    for block in blocks(task.scores, task.truth.rows, labels, task.width_frames):
        segments = None
        if task.segments is not None:
            segments = task.segments.of(np.array(block.clips), block.layout)
        for strip in block.strips:
            tallies[strip.label].add(block, strip, segments)
            task.advance(len(block.clips))
    return {label: tally.measures() for label, tally in tallies.items()}


class _Tally:
    """Gathers what one class needs, block by block."""

    def __init__(self, task: _Task, label: int):
        self._task = task
        self._events = task.truth.events[label]
        self._clips, self._clip_of_event = np.unique(
            self._events.clip, return_inverse=True
        )
        self._active: list[np.ndarray] = []  # keys of the clips with events
        self._false_alarms = self._all_segments = np.empty(0, np.int32)
        self._gap = 0

    def add(self, block: Block, strip: Strip, segments: SegmentsOfStrip | None) -> None:
        if not self._active:
            self._false_alarms = np.zeros(strip.n_keys, np.int32)
            self._all_segments = np.zeros(strip.n_keys, np.int32)
            self._gap = block.layout.gap
        if segments is not None:
            keys.add_counts(self._all_segments, segments.highest(strip.keys))
        first, stop = np.searchsorted(
            self._clips, [block.clips.start, block.clips.stop]
        )
        places = block.layout.places(self._clips[first:stop] - block.clips.start)
        self._active.append(strip.keys[places])
        if self._task.wants_curve:
            strip.keys[places] = keys.NO_SCORE
            count_changes(strip.keys, self._false_alarms)

    def measures(self) -> ClassMeasures:
        task = self._task
        rows = [task.truth.rows[clip] for clip in self._clips]
        borders = [task.scores.timestamps(row) for row in rows]
        active = psds.ActiveClips(
            np.concatenate([np.zeros(1, self._active[0].dtype), *self._active]),
            Layout([len(of_clip) - 1 for of_clip in borders], self._gap),
            borders,
            self._events._replace(clip=self._clip_of_event),
        )
        curve = pauroc = None
        if task.wants_curve:
            curve = psds.detection_curve(
                self._false_alarms, active, sum(task.truth.durations)
            )
        if task.segments is not None:
            segments = task.segments.of(self._clips, active.layout)
            positive = np.zeros_like(self._all_segments)
            highest = segments.highest(active.keys)
            keys.add_counts(positive, highest[segments.touched(active.events)])
            pauroc = class_pauroc(self._all_segments, positive)
        return ClassMeasures(curve, pauroc)
