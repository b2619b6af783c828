"""PSDS: the polyphonic sound detection score, exact, at every threshold.

Bilen et al. 2020; exact thresholds by Ebbers et al. 2022. A detection counts if enough of
it lies in true events of its class, a true event is found if such detections cover enough
of it, and the curve of found events is integrated up to a rate of false alarms. A false
alarm that lies in events of another class is a cross trigger and may cost more.

The definition is that of sed_scores_eval 0.0.4 (`intersection_based.psds`), with which
the tests compare. What detections and events have in common is in
`jaxsed.evaluation.intersections`.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import keys


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What counts as a detection, and what mistakes cost.

    Attributes:
        detection_tolerance: part of a detection that must lie in true events of its class
            (rho_DTC); other detections are false alarms.
        ground_truth_intersection: part of a true event that such detections must cover
            for it to be found (rho_GTC).
        cross_trigger_tolerance: part of a false alarm in the events of another class with
            which it is a cross trigger of that class (rho_CTTC); None ignores them.
        cross_trigger_weight: of the rate of cross triggers, averaged over the other
            classes, in the effective rate of false alarms (alpha_CT).
        variance_penalty: of the standard deviation over classes that is subtracted from
            the mean (alpha_ST).
        max_false_alarms_per_hour: the effective rate to which the curve is integrated.

    Raises:
        InputError: one of tolerance and weight of cross triggers without the other.
    """

    detection_tolerance: float
    ground_truth_intersection: float
    cross_trigger_tolerance: float | None = None
    cross_trigger_weight: float = 0.0
    variance_penalty: float = 1.0
    max_false_alarms_per_hour: float = 100.0

    def __post_init__(self):
        if (self.cross_trigger_tolerance is None) != (self.cross_trigger_weight == 0):
            raise InputError(
                f"cross_trigger_tolerance={self.cross_trigger_tolerance} with "
                f"cross_trigger_weight={self.cross_trigger_weight}: give both, or neither"
            )

    @property
    def has_cross_triggers(self) -> bool:
        """Whether false alarms in events of other classes cost more."""
        return self.cross_trigger_tolerance is not None


# The two scenarios of DCASE's task 4 (DESED): one wants exact times and the other the
# right class. PretrainedSED evaluates the first (ex_audioset_strong.py,
# on_validation_epoch_end).
SCENARIO_1 = Scenario(0.7, 0.7)
SCENARIO_2 = Scenario(0.1, 0.1, 0.3, 0.5)
SCENARIOS = {"psds1": SCENARIO_1, "psds2": SCENARIO_2}

# Rates an hour with cross triggers are sums of fractions: after rounding to so many
# decimals, those that are equal are equal numbers, too.
_RATE_DECIMALS = 9
_RATES_AT_A_TIME = 4096  # of the mean curve, for all classes at once


class DetectionCurve(NamedTuple):
    """True positive ratio over the effective rate of false alarms of one class.

    Attributes:
        true_positive_ratio: float64 `[p]`, ascending.
        false_alarms_per_hour: float64 `[p]`, ascending from 0, at most the scenario's.
    """

    true_positive_ratio: np.ndarray
    false_alarms_per_hour: np.ndarray


class Changes(NamedTuple):
    """By how much counts of a class grow when the threshold falls to a key.

    Attributes:
        found: int64 `[n_keys]`, events found.
        false_alarms: int64 `[n_keys]`, detections that are false alarms.
        cross_triggers: float64 `[n_keys]`, weighted rate of cross triggers per second, or
            None where the scenario ignores them.
    """

    found: np.ndarray
    false_alarms: np.ndarray
    cross_triggers: np.ndarray | None = None


def lowest_key(
    false_alarms: np.ndarray, total_seconds: float, scenario: Scenario
) -> int:
    """Returns the lowest key at which a curve can still go on, at least 1.

    Args:
        false_alarms: int `[n_keys]`, changes of the number of false alarms; of some clips
            is enough, the others only add to them. No score reaches the highest key,
            which is therefore always allowed.
        total_seconds: length of all clips.
        scenario: says how many there may be.
    """
    certain = keys.from_the_top(false_alarms)[1:]
    allowed = _per_hour(certain, total_seconds) <= scenario.max_false_alarms_per_hour
    return 1 + int(np.argmax(allowed))


def detection_curve(
    changes: Changes, n_events: int, total_seconds: float, scenario: Scenario
) -> DetectionCurve:
    """Computes the curve of one class.

    Args:
        changes: of all clips.
        n_events: true events of the class.
        total_seconds: length of all clips.
        scenario: says how far the curve goes.
    """
    changed = changes.found | changes.false_alarms
    if changes.cross_triggers is not None:
        changed = (changed != 0) | (changes.cross_triggers != 0)
    changed = np.flatnonzero(changed)
    # One threshold is above all scores, and nothing is detected there.
    n_found = np.append(keys.from_the_top(changes.found[changed]), 0)
    n_false = np.append(keys.from_the_top(changes.false_alarms[changed]), 0)
    rate = _per_hour(n_false, total_seconds)
    if changes.cross_triggers is not None:
        cross = np.cumsum(changes.cross_triggers[changed][::-1])[::-1]
        rate = np.round(rate + np.append(cross, 0) * 3600.0, _RATE_DECIMALS)
    rate, n_found = _staircase(rate, n_found)
    kept = rate <= scenario.max_false_alarms_per_hour
    return DetectionCurve(n_found[kept] / n_events, rate[kept])


def _per_hour(count: np.ndarray, total_seconds: float) -> np.ndarray:
    return count / total_seconds * 3600.0


def _staircase(rate: np.ndarray, n_found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest rate at which each number of found events is reached."""
    order = np.lexsort((n_found, rate))
    rate = rate[order]
    most_found = np.maximum.accumulate(n_found[order])
    last = np.append(rate[1:] != rate[:-1], True)
    rate, most_found = rate[last], most_found[last]
    rises = np.append(True, most_found[1:] > most_found[:-1])
    return rate[rises], most_found[rises]


def class_psds(curve: DetectionCurve, scenario: Scenario = SCENARIO_1) -> float:
    """Returns the area under the curve of one class, 0 to 1."""
    return _area(*curve, scenario.max_false_alarms_per_hour)


def psds(
    curves: Mapping[object, DetectionCurve], scenario: Scenario = SCENARIO_1
) -> float:
    """Returns the area under the mean curve minus some standard deviations.

    The mean is taken over classes at each rate of false alarms; where the penalty makes it
    negative it counts as 0. Without a penalty the result is `psds_macro`.

    Args:
        curves: all classes, of this scenario.
        scenario: has the penalty, 1 in the DCASE challenges and in the released code.
    """
    rates = np.unique(
        np.concatenate([c.false_alarms_per_hour for c in curves.values()])
    )
    mean = np.empty_like(rates)
    for start in range(0, len(rates), _RATES_AT_A_TIME):
        some = slice(start, start + _RATES_AT_A_TIME)
        ratios = np.empty((len(curves), len(rates[some])))
        for of_class, curve in zip(ratios, curves.values(), strict=True):
            step = np.searchsorted(curve.false_alarms_per_hour, rates[some], "right")
            of_class[:] = curve.true_positive_ratio[step - 1]
        mean[some] = ratios.mean(axis=0)
        mean[some] -= scenario.variance_penalty * ratios.std(axis=0)
    return _area(np.maximum(mean, 0.0), rates, scenario.max_false_alarms_per_hour)


def psds_macro(
    curves: Mapping[object, DetectionCurve], scenario: Scenario = SCENARIO_1
) -> float:
    """Returns the mean of the single-class scores.

    Of scenario 1 it is the number that papers on AudioSet Strong report.
    """
    areas = [class_psds(curve, scenario) for curve in curves.values()]
    return float(np.mean(areas))


def _area(
    true_positive_ratio: np.ndarray, false_alarms_per_hour: np.ndarray, limit: float
) -> float:
    """Integrates a staircase: a ratio holds until the next rate, the last one to the end."""
    widths = np.diff(np.append(false_alarms_per_hour, limit))
    return float((true_positive_ratio * widths).sum() / limit)
