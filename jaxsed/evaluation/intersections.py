"""What the detections of a class have in common with true events, at every threshold.

A detection that lies in events of its class is right and covers them; any other is a
false alarm, and a cross trigger of the classes in whose events it lies. The criteria are
those of a PSDS scenario. Where equality decides, the arithmetic of sed_scores_eval 0.0.4
(`intersection_based/intermediate_statistics.py`) is followed.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxsed.evaluation import keys
from jaxsed.evaluation.detections import all_detections
from jaxsed.evaluation.psds import Changes, Scenario
from jaxsed.evaluation.strips import Layout, ranges
from jaxsed.evaluation.truth import ClassEvents

# Seconds are compared after rounding to so many decimals: sed_scores_eval's default.
_TIME_DECIMALS = 6
# Pairs of a detection and an event that are compared at a time.
_PAIRS_AT_A_TIME = 1 << 20
_SHORTEST_SECONDS = 1e-12  # that a class's events count as, sed_scores_eval's


class TimedDetections(NamedTuple):
    """Every different detection of a class in some clips, `[d]` each.

    Attributes:
        clip: int64, which of the clips.
        onset: float64, seconds.
        offset: float64, seconds.
        highest: key of the highest threshold at which it is there.
        grown: key at which it is there no longer, being part of a longer one;
            `keys.NO_SCORE` where that never happens.
    """

    clip: np.ndarray
    onset: np.ndarray
    offset: np.ndarray
    highest: np.ndarray
    grown: np.ndarray

    def these(self, chosen: np.ndarray) -> "TimedDetections":
        """Returns some of them: a mask, a slice or indices."""
        return TimedDetections(*(column[chosen] for column in self))


def detections_of_strip(
    strip: np.ndarray, layout: Layout, borders: list[np.ndarray], lowest: int
) -> TimedDetections:
    """Finds the detections of clips that lie in a strip.

    Args:
        strip: keys of filtered scores, unsigned `[layout.size]`.
        layout: where the b clips lie.
        borders: borders of each clip's frames in seconds, b arrays `[t + 1]`.
        lowest: keys below it are of no interest.
    """
    found = all_detections(np.where(strip >= lowest, strip, keys.NO_SCORE))
    clip = layout.clip_of(found.first)
    seconds = np.concatenate(borders)
    # A clip has one border more than frames.
    shift = np.cumsum(layout.n_frames + 1) - layout.n_frames - 1
    shift = (shift - layout.starts)[clip]
    onset, offset = seconds[found.first + shift], seconds[found.stop + shift]
    return TimedDetections(clip, onset, offset, found.highest, found.grown)


class OtherEvents:
    """The true events of all classes, clip by clip: where false alarms cross-trigger.

    Args:
        events: `{class: its events}` of all clips.
        n_clips: their number.
        scenario: one with cross triggers.
    """

    def __init__(
        self, events: Mapping[int, ClassEvents], n_clips: int, scenario: Scenario
    ):
        self._tolerance = scenario.cross_trigger_tolerance
        labels = list(events)
        lengths = [len(of_class.clip) for of_class in events.values()]
        clip, onset, offset = map(np.concatenate, zip(*events.values(), strict=True))
        order = np.argsort(clip, kind="stable")  # by clip, then class, then onset
        self._label = np.repeat(labels, lengths)[order]
        self._onset, self._offset = onset[order], offset[order]
        self._first = np.searchsorted(clip[order], np.arange(n_clips + 1))
        # Of one cross trigger of a class, per second and averaged over the others.
        self._rate = np.zeros(max(labels) + 1)
        for label, of_class in events.items():
            seconds = float((of_class.offset - of_class.onset).sum())
            self._rate[label] = scenario.cross_trigger_weight
            self._rate[label] /= max(len(events) - 1, 1)
            self._rate[label] /= max(seconds, _SHORTEST_SECONDS)

    def rates(
        self, label: int, clips: np.ndarray, false_alarms: TimedDetections
    ) -> np.ndarray:
        """Returns what each false alarm of a class adds to the effective rate.

        Args:
            label: the class.
            clips: int64, the clips that `false_alarms.clip` counts.
            false_alarms: d of them.

        Returns:
            float64 `[d]`, per second: 0 of those that are no cross trigger.
        """
        first = self._first[clips[false_alarms.clip]]
        n_events = self._first[clips[false_alarms.clip] + 1] - first
        rates = np.zeros(len(first))
        start, ends = 0, np.cumsum(n_events)
        while start < len(first):
            done = ends[start] - n_events[start]
            stop = int(np.searchsorted(ends, done + _PAIRS_AT_A_TIME, "right"))
            some = slice(start, max(stop, start + 1))
            rates[some] = self._some_rates(
                label, false_alarms.these(some), first[some], n_events[some]
            )
            start = some.stop
        return rates

    def _some_rates(self, label, false_alarms, first, n_events) -> np.ndarray:
        detection = np.repeat(np.arange(len(first)), n_events)
        event = ranges(first, n_events)
        other = self._label[event] != label
        detection, event = detection[other], event[other]
        if not event.size:
            return np.zeros(len(first))
        common = _common(
            false_alarms, detection, self._onset[event], self._offset[event]
        )
        # Events of one class follow each other: a cross trigger lies in them together.
        of_class = self._label[event]
        new = (detection[1:] != detection[:-1]) | (of_class[1:] != of_class[:-1])
        group = np.append(0, 1 + np.flatnonzero(new))
        seconds = np.add.reduceat(common, group)
        detection, of_class = detection[group], of_class[group]
        length = false_alarms.offset - false_alarms.onset
        crosses = _reaches(seconds, self._tolerance * length[detection])
        rates = self._rate[of_class[crosses]]
        return np.bincount(detection[crosses], rates, len(first))


def changes(
    detections: TimedDetections,
    events: ClassEvents,
    n_clips: int,
    n_keys: int,
    scenario: Scenario,
    cross_trigger_rates=None,
) -> Changes:
    """Counts events found and false alarms in some clips.

    Args:
        detections: of the class in these clips.
        events: of the class in these clips; `clip` counts as that of the detections.
        n_clips: their number.
        n_keys: all keys are below it.
        scenario: the criteria.
        cross_trigger_rates: `false alarms -> float64`, what each adds to the effective
            rate of false alarms per second; None in a scenario without cross triggers.
    """
    n_events = np.bincount(events.clip, minlength=n_clips)
    first_event = np.cumsum(n_events) - n_events
    # Each detection with each event of its clip.
    clip = detections.clip
    pair_detection = np.repeat(np.arange(len(clip)), n_events[clip])
    pair_event = ranges(first_event[clip], n_events[clip])
    common = _common(
        detections, pair_detection, events.onset[pair_event], events.offset[pair_event]
    )
    in_events = np.bincount(pair_detection, common, len(clip))
    length = detections.offset - detections.onset
    right = _reaches(in_events, scenario.detection_tolerance * length)
    false_alarms = np.zeros(n_keys, np.int64)
    wrong = detections.these(~right)
    keys.add_counts(false_alarms, wrong.highest)
    keys.add_counts(false_alarms, wrong.grown, -1)
    cross = None
    if cross_trigger_rates is not None:
        rates = cross_trigger_rates(wrong)
        cross = np.bincount(wrong.highest, rates, n_keys)
        cross -= np.bincount(wrong.grown, rates, n_keys)
    useful = right[pair_detection] & (common > 0)
    found = _found(
        detections,
        events,
        n_clips,
        n_keys,
        (pair_detection[useful], pair_event[useful], common[useful]),
        scenario.ground_truth_intersection * (events.offset - events.onset),
    )
    return Changes(found, false_alarms, cross)


def _common(
    detections: TimedDetections, of_pair: np.ndarray, onset, offset
) -> np.ndarray:
    """Returns for how many seconds the detection of each pair lies in its event."""
    seconds = np.minimum(detections.offset[of_pair], offset)
    seconds -= np.maximum(detections.onset[of_pair], onset)
    return np.maximum(seconds, 0.0)


def _reaches(seconds: np.ndarray, needed: np.ndarray) -> np.ndarray:
    return np.round(seconds, _TIME_DECIMALS) >= np.round(needed, _TIME_DECIMALS)


def _found(detections, events, n_clips, n_keys, pairs, needed) -> np.ndarray:
    """Returns int64 `[n_keys]`, at which thresholds events become found, or are lost.

    Args:
        detections: of `changes`, as the next three.
        events: true ones.
        n_clips: number of clips.
        n_keys: all keys are below it.
        pairs: right detections, the events they lie in and the seconds they share.
        needed: float64 `[e]`, covered seconds with which an event is found.
    """
    detection, event, common = pairs
    # Nothing is found where nothing is detected; from the first detection on, what is
    # covered counts, be it nothing (an event of no length needs no more).
    highest = np.full(n_clips, keys.NO_SCORE, np.int64)
    np.maximum.at(highest, detections.clip, detections.highest)
    every = np.arange(len(events.clip))
    place = np.concatenate([every, event, event])
    key = np.concatenate(
        [
            highest[events.clip],
            detections.highest[detection],
            detections.grown[detection],
        ]
    )
    covered = np.concatenate([np.zeros(len(every)), common, -common])
    order = np.argsort(place * n_keys + (n_keys - 1 - key), kind="stable")
    place, key, covered = place[order], key[order], covered[order]
    first = np.searchsorted(place, every)
    # Each event starts from nothing: what the one before it ends with is taken off.
    covered[first[1:]] -= np.add.reduceat(covered, first)[:-1]
    another = place[1:] != place[:-1]
    last = np.flatnonzero(np.append(another | (key[1:] != key[:-1]), True))
    place, key = place[last], key[last]
    is_found = _reaches(np.cumsum(covered)[last], needed[place])
    was_found = np.append(False, is_found[:-1] & (place[1:] == place[:-1]))
    found = np.zeros(n_keys, np.int64)
    keys.add_counts(found, key[is_found & ~was_found])
    keys.add_counts(found, key[was_found & ~is_found], -1)
    return found
