"""PSDS: the polyphonic sound detection score, exact, at every threshold.

PSDS scenario 1 (Bilen et al. 2020; exact thresholds by Ebbers et al. 2022) with the
settings of the papers on AudioSet Strong: a detection counts if 70 % of it lies in true
events of its class, a true event is found if such detections cover 70 % of it, cross
triggers are ignored, and the curve is integrated up to 100 false alarms an hour.

The definition is that of sed_scores_eval 0.0.4 (`intersection_based.psds`), with which
the tests compare. Where equality decides, its arithmetic is followed.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxsed.evaluation import keys
from jaxsed.evaluation.detections import Detections, all_detections
from jaxsed.evaluation.strips import Layout, ranges
from jaxsed.evaluation.truth import ClassEvents

# PretrainedSED ex_audioset_strong.py, on_validation_epoch_end.
DETECTION_TOLERANCE = 0.7
GROUND_TRUTH_INTERSECTION = 0.7
MAX_FALSE_ALARMS_PER_HOUR = 100.0
# Weight of the standard deviation over classes that `psds1` subtracts (alpha_st).
VARIANCE_PENALTY = 1.0

# Seconds are compared after rounding to so many decimals: sed_scores_eval's default.
_TIME_DECIMALS = 6


class DetectionCurve(NamedTuple):
    """True positive ratio over the rate of false alarms of one class.

    Attributes:
        true_positive_ratio: float64 `[p]`, ascending.
        false_alarms_per_hour: float64 `[p]`, ascending from 0, at most 100.
    """

    true_positive_ratio: np.ndarray
    false_alarms_per_hour: np.ndarray


class ActiveClips(NamedTuple):
    """The clips in which a class has events, as a strip.

    Attributes:
        keys: filtered scores, unsigned `[layout.size]`.
        layout: where the b clips lie.
        borders: borders of each clip's frames in seconds, b arrays `[t + 1]`.
        events: of these clips; `clip` counts from 0 to b - 1.
    """

    keys: np.ndarray
    layout: Layout
    borders: list[np.ndarray]
    events: ClassEvents


def detection_curve(
    false_alarms: np.ndarray, active: ActiveClips, total_seconds: float
) -> DetectionCurve:
    """Computes the curve of one class.

    Args:
        false_alarms: int `[n_keys]`, from the clips without events of the class: by how
            much the number of detections, all of which are false alarms there, grows
            when the threshold falls to a key (`detections.count_changes`).
        active: the clips with events.
        total_seconds: length of all clips.
    """
    silent = keys.from_the_top(false_alarms)[1:]
    # The false alarms in silent clips alone rule thresholds out. No score reaches the
    # highest key, which is therefore always allowed.
    allowed = _per_hour(silent, total_seconds) <= MAX_FALSE_ALARMS_PER_HOUR
    lowest = 1 + int(np.argmax(allowed))
    false_alarms = false_alarms.astype(np.int64)
    found = np.zeros_like(false_alarms)
    _add_active(active, lowest, false_alarms, found)
    changed = lowest + np.flatnonzero(false_alarms[lowest:] | found[lowest:])
    n_false = np.append(keys.from_the_top(false_alarms[changed]), 0)
    n_found = np.append(keys.from_the_top(found[changed]), 0)
    n_false, n_found = _staircase(n_false, n_found)
    rate = _per_hour(n_false, total_seconds)
    kept = rate <= MAX_FALSE_ALARMS_PER_HOUR
    return DetectionCurve(n_found[kept] / len(active.events.clip), rate[kept])


def _per_hour(count: np.ndarray, total_seconds: float) -> np.ndarray:
    return count / total_seconds * 3600.0


def _staircase(
    n_false: np.ndarray, n_found: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the fewest false alarms at which each number of found events is reached."""
    order = np.lexsort((n_found, n_false))
    n_false = n_false[order]
    most_found = np.maximum.accumulate(n_found[order])
    last = np.append(n_false[1:] != n_false[:-1], True)
    n_false, most_found = n_false[last], most_found[last]
    rises = np.append(True, most_found[1:] > most_found[:-1])
    return n_false[rises], most_found[rises]


def _add_active(
    active: ActiveClips, lowest: int, false_alarms: np.ndarray, found: np.ndarray
) -> None:
    """Adds what changes in the clips with events.

    Args:
        active: the clips.
        lowest: keys below it are of no interest.
        false_alarms: int64 `[n_keys]`, added to: change of the number of false alarms.
        found: int64 `[n_keys]`, added to: change of the number of events found.
    """
    strip = np.where(active.keys >= lowest, active.keys, keys.NO_SCORE)
    detections = all_detections(strip)
    clip, onset, offset = _times(active, detections)
    events = active.events
    n_events = np.bincount(events.clip, minlength=len(active.borders))
    first_event = np.cumsum(n_events) - n_events
    # Each detection with each event of its clip.
    pair_detection = np.repeat(np.arange(len(clip)), n_events[clip])
    pair_event = ranges(first_event[clip], n_events[clip])
    common = np.minimum(offset[pair_detection], events.offset[pair_event])
    common -= np.maximum(onset[pair_detection], events.onset[pair_event])
    common = np.maximum(common, 0.0)
    in_events = np.bincount(pair_detection, common, len(clip))
    right = _reaches(in_events, DETECTION_TOLERANCE * (offset - onset))
    wrong = ~right
    keys.add_counts(false_alarms, detections.highest[wrong])
    keys.add_counts(false_alarms, detections.grown[wrong], -1)

    useful = right[pair_detection] & (common > 0)
    pair_detection, pair_event = pair_detection[useful], pair_event[useful]
    highest_score = np.maximum.reduceat(strip, active.layout.starts)
    _add_found(
        # Nothing is found where nothing is detected; from the first detection on,
        # what is covered counts, be it nothing (an event of no length needs no more).
        np.concatenate([np.arange(len(events.clip)), pair_event, pair_event]),
        np.concatenate(
            [
                highest_score[events.clip].astype(np.int64),
                detections.highest[pair_detection],
                detections.grown[pair_detection],
            ]
        ),
        np.concatenate([np.zeros(len(events.clip)), common[useful], -common[useful]]),
        GROUND_TRUTH_INTERSECTION * (events.offset - events.onset),
        found,
    )


def _times(
    active: ActiveClips, detections: Detections
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the clip of each detection, its onset and its offset in seconds."""
    clip = active.layout.clip_of(detections.first)
    seconds = np.concatenate(active.borders)
    # A clip has one border more than frames.
    shift = np.cumsum(active.layout.n_frames + 1) - active.layout.n_frames - 1
    shift = (shift - active.layout.starts)[clip]
    return clip, seconds[detections.first + shift], seconds[detections.stop + shift]


def _reaches(seconds: np.ndarray, needed: np.ndarray) -> np.ndarray:
    return np.round(seconds, _TIME_DECIMALS) >= np.round(needed, _TIME_DECIMALS)


def _add_found(
    event: np.ndarray,
    key: np.ndarray,
    covered: np.ndarray,
    needed: np.ndarray,
    found: np.ndarray,
) -> None:
    """Adds at which thresholds events become found, or are lost again.

    Args:
        event: int64 `[n]`; every event occurs.
        key: int64 `[n]`, where the event's covered length changes.
        covered: float64 `[n]`, by how many seconds.
        needed: float64 `[e]`, covered seconds with which an event is found.
        found: int64 `[n_keys]`, added to.
    """
    n_keys = len(found)
    place = event * n_keys + (n_keys - 1 - key)  # by event, from the top
    order = np.argsort(place, kind="stable")
    place, event, key = place[order], event[order], key[order]
    covered = covered[order]
    first = np.searchsorted(event, np.arange(len(needed)))
    # Each event starts from nothing: what the one before it ends with is taken off.
    covered[first[1:]] -= np.add.reduceat(covered, first)[:-1]
    last = np.flatnonzero(np.append(place[1:] != place[:-1], True))
    event, key = event[last], key[last]
    is_found = _reaches(np.cumsum(covered)[last], needed[event])
    was_found = np.append(False, is_found[:-1]) & np.append(
        False, event[1:] == event[:-1]
    )
    keys.add_counts(found, key[is_found & ~was_found])
    keys.add_counts(found, key[was_found & ~is_found], -1)


def class_psds(curve: DetectionCurve) -> float:
    """Returns the area under the curve of one class, 0 to 1."""
    return _area(*curve)


def psds1(
    curves: Mapping[object, DetectionCurve], penalty: float = VARIANCE_PENALTY
) -> float:
    """Returns the area under the mean curve minus `penalty` standard deviations.

    The mean is taken over classes at each false alarm rate; where the penalty makes it
    negative it counts as 0. With penalty 0 the result is `psds1_macro`.

    Args:
        curves: all classes.
        penalty: alpha_st; 1 in the DCASE challenges and in the released code.
    """
    rates = np.unique(
        np.concatenate([c.false_alarms_per_hour for c in curves.values()])
    )
    ratios = np.empty((len(curves), len(rates)))
    for of_class, curve in zip(ratios, curves.values(), strict=True):
        step = np.searchsorted(curve.false_alarms_per_hour, rates, side="right") - 1
        of_class[:] = curve.true_positive_ratio[step]
    mean = ratios.mean(axis=0) - penalty * ratios.std(axis=0)
    return _area(np.maximum(mean, 0.0), rates)


def psds1_macro(curves: Mapping[object, DetectionCurve]) -> float:
    """Returns the mean of the single-class scores: the number the papers report."""
    return float(np.mean([class_psds(curve) for curve in curves.values()]))


def _area(true_positive_ratio: np.ndarray, false_alarms_per_hour: np.ndarray) -> float:
    """Integrates a staircase: a ratio holds until the next rate, the last one to 100."""
    widths = np.diff(np.append(false_alarms_per_hour, MAX_FALSE_ALARMS_PER_HOUR))
    return float((true_positive_ratio * widths).sum() / MAX_FALSE_ALARMS_PER_HOUR)
