"""What the measures of one class need of its scores, gathered block by block.

Of clips without events of the class two histograms over the thresholds are kept, and the
clips themselves only where false alarms may be cross triggers: then those in which
something is detected while the false alarms are within the limit.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxsed.evaluation import intersections, keys, psds
from jaxsed.evaluation.bounding_boxes import Boxes
from jaxsed.evaluation.detections import count_changes
from jaxsed.evaluation.pauroc import Segments, SegmentsOfStrip, class_pauroc
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.strips import Block, Layout, Strip
from jaxsed.evaluation.truth import Truth


class ClassMeasures(NamedTuple):
    """The measures of a class.

    Attributes:
        curves: detection curve of each scenario asked for.
        pauroc: partial AUROC; NaN where there is none, None where not asked for.
    """

    curves: dict[str, psds.DetectionCurve]
    pauroc: float | None = None


class Task(NamedTuple):
    """What the tallies of all classes share.

    Attributes:
        scores: stored scores.
        truth: which clips and classes count, and their events.
        postprocessing: of the scores.
        scenarios: of PSDS, by name.
        others: of the scenarios with cross triggers, where those happen.
        segments: for the partial AUROC; None where not asked for.
        advance: called with the number of clips after each block of a class.
    """

    scores: ScoreStore | ScoreTables
    truth: Truth
    postprocessing: Postprocessing
    scenarios: Mapping[str, psds.Scenario]
    others: Mapping[str, intersections.OtherEvents]
    segments: Segments | None
    advance: Callable[[int], None]

    @property
    def seconds(self) -> float:
        """Length of all clips."""
        return sum(self.truth.durations)


class FrameTally:
    """Gathers the frame scores of one class.

    Args:
        task: what is asked for.
        label: the class.
    """

    def __init__(self, task: Task, label: int):
        self._task, self._label = task, label
        events = task.truth.events[label]
        self._clips, clip_of_event = np.unique(events.clip, return_inverse=True)
        self._events = events._replace(clip=clip_of_event)
        self._active: list[np.ndarray] = []  # keys of the clips with events
        self._silent: list[np.ndarray] = []  # keys of clips without that are kept
        self._silent_clips: list[np.ndarray] = []
        self._false_alarms = self._all_segments = np.empty(0, np.int32)
        self._gap = 0

    def add(self, block: Block, strip: Strip, segments: SegmentsOfStrip | None) -> None:
        """Takes the strip of a block; its keys are changed."""
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
        if self._task.scenarios:
            strip.keys[places] = keys.NO_SCORE
            count_changes(strip.keys, self._false_alarms)
        if self._task.others:
            self._keep_silent(block, strip.keys)

    def _keep_silent(self, block: Block, strip: np.ndarray) -> None:
        """Keeps the clips in which something is detected at a threshold that counts."""
        lowest = min(self._lowest(name) for name in self._task.others)
        highest = np.maximum.reduceat(strip, block.layout.starts)
        kept = np.flatnonzero(highest >= lowest)
        self._silent.append(strip[block.layout.places(kept)])
        self._silent_clips.append(block.clips.start + kept)

    def _lowest(self, scenario: str) -> int:
        return psds.lowest_key(
            self._false_alarms, self._task.seconds, self._task.scenarios[scenario]
        )

    def measures(self) -> ClassMeasures:
        """Returns the measures of all that was added."""
        task = self._task
        strip, layout, _ = self._strip(self._clips, self._active)
        curves = {
            name: self._curve_with_cross_triggers(name)
            if name in task.others
            else self._curve(name)
            for name in task.scenarios
        }
        pauroc = None
        if task.segments is not None:
            segments = task.segments.of(self._clips, layout)
            positive = np.zeros_like(self._all_segments)
            highest = segments.highest(strip)
            keys.add_counts(positive, highest[segments.touched(self._events)])
            pauroc = class_pauroc(self._all_segments, positive)
        return ClassMeasures(curves, pauroc)

    def _strip(self, clips: np.ndarray, of_clips: list[np.ndarray]):
        """Returns kept clips as a strip, its layout and the borders of their frames."""
        rows = [self._task.truth.rows[clip] for clip in clips]
        borders = [self._task.scores.timestamps(row) for row in rows]
        layout = Layout([len(of_clip) - 1 for of_clip in borders], self._gap)
        first = np.zeros(1, of_clips[0].dtype)
        return np.concatenate([first, *of_clips]), layout, borders

    def _curve(self, name: str) -> psds.DetectionCurve:
        lowest = self._lowest(name)
        changes = self._changes(name, lowest, self._clips, self._active)
        changes.false_alarms[lowest:] += self._false_alarms[lowest:]
        return self._curve_of(name, changes)

    def _curve_with_cross_triggers(self, name: str) -> psds.DetectionCurve:
        # Clips with events first: those are the clips that the events count.
        clips = np.concatenate([self._clips, *self._silent_clips])
        of_clips = [*self._active, *self._silent]
        return self._curve_of(
            name, self._changes(name, self._lowest(name), clips, of_clips)
        )

    def _changes(self, name, lowest, clips, of_clips) -> psds.Changes:
        strip, layout, borders = self._strip(clips, of_clips)
        rates = None
        if name in self._task.others:
            rates = partial(self._task.others[name].rates, self._label, clips)
        return intersections.changes(
            intersections.detections_of_strip(strip, layout, borders, lowest),
            self._events,
            len(clips),
            len(self._false_alarms),
            self._task.scenarios[name],
            rates,
        )

    def _curve_of(self, name: str, changes: psds.Changes) -> psds.DetectionCurve:
        return psds.detection_curve(
            changes,
            len(self._events.clip),
            self._task.seconds,
            self._task.scenarios[name],
        )


class BoxTally:
    """Gathers the bounding boxes of one class.

    Args:
        task: what is asked for.
        label: the class.
    """

    def __init__(self, task: Task, label: int):
        self._task, self._label = task, label
        self._boxes: list[Boxes] = []

    def add(self, clips: np.ndarray, boxes: Boxes) -> None:
        """Takes the boxes of some clips; their rows count these."""
        self._boxes.append(boxes._replace(row=clips[boxes.row]))

    def measures(self) -> ClassMeasures:
        """Returns the measures of all that was added."""
        task, n_clips = self._task, len(self._task.truth.rows)
        boxes = Boxes(*map(np.concatenate, zip(*self._boxes, strict=True)))
        ranks, n_keys = keys.ranks(boxes.confidence)
        detections = intersections.TimedDetections(
            boxes.row,
            boxes.onset,
            boxes.offset,
            ranks.astype(np.int64),
            np.full(len(ranks), keys.NO_SCORE, np.int64),
        )
        events, every = task.truth.events[self._label], np.arange(n_clips)
        curves = {}
        for name, scenario in task.scenarios.items():
            rates = None
            if name in task.others:
                rates = partial(task.others[name].rates, self._label, every)
            changes = intersections.changes(
                detections, events, n_clips, n_keys, scenario, rates
            )
            curves[name] = psds.detection_curve(
                changes, len(events.clip), task.seconds, scenario
            )
        return ClassMeasures(curves)
