"""PSDS curves and pAUROC of all classes from stored scores, on all cores.

Classes are independent of each other. They are taken in chunks, one a thread (numpy
works outside Python's lock); a chunk reads the scores block by block of clips and keeps
what its classes need (`jaxsed.evaluation.tallies`). Memory is thus bounded whatever the
number of clips.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_EXCEPTION,
    CancelledError,
    ThreadPoolExecutor,
    wait,
)

import numpy as np

from jaxsed.evaluation import keys, psds
from jaxsed.evaluation.bounding_boxes import bounding_boxes
from jaxsed.evaluation.intersections import OtherEvents
from jaxsed.evaluation.pauroc import Segments
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.probabilities import probabilities
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.strips import blocks
from jaxsed.evaluation.tallies import BoxTally, ClassMeasures, FrameTally, Task
from jaxsed.evaluation.truth import Truth

# What the chunks at work keep, all together; blocks of scores come on top of it.
_CHUNKS_BYTES = 512 << 20
_MOST_THREADS = 8  # more wait for Python's lock
_BAR_DELAY_SECONDS = 2.0  # what is done by then needs no progress bar
_BYTES_A_BOX_CLIP = 1024  # of a class: boxes are few


def class_measures(
    scores: ScoreStore | ScoreTables,
    truth: Truth,
    postprocessing: Postprocessing,
    *,
    scenarios: Mapping[str, psds.Scenario] = psds.SCENARIOS,
    pauroc: bool = True,
    progress: bool = True,
) -> dict[int, ClassMeasures]:
    """Computes the measures of all classes of a truth.

    Args:
        scores: stored scores.
        truth: which clips and classes count, and their events.
        postprocessing: of the scores. Boxes have no partial AUROC.
        scenarios: compute the detection curves of these, by name.
        pauroc: compute the partial AUROCs.
        progress: show a progress bar on a terminal where it takes long.

    Returns:
        `{class: measures}`, ascending.

    Raises:
        InputError: scores that are not finite numbers.
    """
    n_threads = min(_n_cores(), _MOST_THREADS)
    segments = None
    if pauroc:
        borders = [scores.timestamps(row) for row in truth.rows]
        segments = Segments(borders, truth.durations)
    others = {
        name: OtherEvents(truth.events, len(truth.rows), scenario)
        for name, scenario in scenarios.items()
        if scenario.has_cross_triggers
    }
    stopped = threading.Event()
    with _progress_bar(len(truth.rows) * len(truth.classes), progress) as bar:

        def advance(n: int) -> None:
            if stopped.is_set():
                raise CancelledError
            bar.update(n)

        task = Task(scores, truth, postprocessing, scenarios, others, segments, advance)
        measure = _measure_boxes if postprocessing.makes_boxes else _measure_frames
        with ThreadPoolExecutor(n_threads) as pool:
            futures = [
                pool.submit(measure, task, chunk) for chunk in _chunks(task, n_threads)
            ]
            try:
                for ended in wait(futures, return_when=FIRST_EXCEPTION).done:
                    ended.result()  # raises what ended it
                found = [future.result() for future in futures]
            except BaseException:  # an interrupt too: let the threads end at once
                stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    found = {label: of_class for part in found for label, of_class in part.items()}
    return {label: found[label] for label in truth.classes}


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


def _chunks(task: Task, n_threads: int) -> Iterator[dict[int, int]]:
    """Divides the classes so that all threads work and the memory suffices.

    Yields:
        `{class: width of its median filter in frames}`, all of one width.
    """
    names = [task.scores.vocabulary.names[label] for label in task.truth.classes]
    widths = task.postprocessing.median_widths(names, task.scores)
    needed = _bytes_of_classes(task)
    most = min(_CHUNKS_BYTES, sum(needed.values())) / n_threads
    for width in sorted(set(widths)):
        chunk: dict[int, int] = {}
        for label, own in zip(task.truth.classes, widths, strict=True):
            if own != width:
                continue
            chunk[label] = width
            if sum(needed[member] for member in chunk) >= most:
                yield chunk
                chunk = {}
        if chunk:
            yield chunk


def _bytes_of_classes(task: Task) -> dict[int, int]:
    """Returns how much is kept of each class, at most."""
    truth = task.truth
    if task.postprocessing.makes_boxes:
        return dict.fromkeys(truth.classes, _BYTES_A_BOX_CLIP * len(truth.rows))
    n_frames = [len(task.scores.timestamps(row)) - 1 for row in truth.rows]
    if task.scores.dtype != np.float16:
        # Scores, keys and, at worst, a key of its own for each.
        return dict.fromkeys(truth.classes, 24 * sum(n_frames))
    needed = {}
    for label, events in truth.events.items():
        kept = sum(n_frames[clip] for clip in np.unique(events.clip))
        if task.others:
            kept = sum(n_frames)
        needed[label] = 8 * keys.N_FLOAT16_KEYS + 2 * kept
    return needed


def _measure_frames(task: Task, chunk: Mapping[int, int]) -> dict[int, ClassMeasures]:
    labels, width = list(chunk), next(iter(chunk.values()))
    tallies = {label: FrameTally(task, label) for label in labels}
    for block in blocks(task.scores, task.truth.rows, labels, width):
        segments = None
        if task.segments is not None:
            segments = task.segments.of(np.array(block.clips), block.layout)
        for strip in block.strips:
            tallies[strip.label].add(block, strip, segments)
            task.advance(len(block.clips))
    return {label: tally.measures() for label, tally in tallies.items()}


def _measure_boxes(task: Task, chunk: Mapping[int, int]) -> dict[int, ClassMeasures]:
    scores, rows, labels = task.scores, task.truth.rows, list(chunk)
    names = [scores.vocabulary.names[label] for label in labels]
    settings = task.postprocessing.box_settings(names)
    tallies = {label: BoxTally(task, label) for label in labels}
    for clips, of_classes in scores.blocks(rows, labels):
        alike = list(_of_one_length(scores, rows, clips))
        for tally, frames, own in zip(tallies.values(), of_classes, settings):
            for places, frame_places, borders in alike:
                ids = [scores.ids[rows[place]] for place in places]
                found = probabilities(frames[frame_places], ids)
                tally.add(places, bounding_boxes(found, borders, own))
            task.advance(len(clips))
    return {label: tally.measures() for label, tally in tallies.items()}


def _of_one_length(
    scores: ScoreStore | ScoreTables, rows: Sequence[int], clips: range
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Groups the clips of a block by their frames, which lie one after the other.

    Yields:
        Places of the b clips in `rows`, places of their frames in the block `[b, t]`, and
        the borders of the frames in seconds `[t + 1]`.
    """
    borders = [scores.timestamps(rows[clip]) for clip in clips]
    n_frames = np.array([len(of_clip) - 1 for of_clip in borders])
    starts = np.cumsum(n_frames) - n_frames
    for length in np.unique(n_frames):
        alike = np.flatnonzero(n_frames == length)
        frames = starts[alike, None] + np.arange(length)
        yield clips.start + alike, frames, borders[alike[0]]
