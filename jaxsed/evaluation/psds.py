"""PSDS: the polyphonic sound detection score, by sed_scores_eval.

PSDS scenario 1 (Bilen et al. 2020; exact thresholds by Ebbers et al. 2022) with the
settings of the papers on AudioSet Strong: a detection counts if 70 % of it lies in true
events of its class, a true event is found if such detections cover 70 % of it, cross
triggers are ignored, and the curve is integrated up to 100 false alarms an hour.
"""

from typing import NamedTuple

import numpy as np

from jaxsed.evaluation import sed_library
from jaxsed.evaluation.sed_library import GroundTruth, ScoreFrames

_MODULE = "intersection_based.psds"

# PretrainedSED ex_audioset_strong.py, on_validation_epoch_end.
DETECTION_TOLERANCE = 0.7
GROUND_TRUTH_INTERSECTION = 0.7
MAX_FALSE_ALARMS_PER_HOUR = 100.0
# Weight of the standard deviation over classes that `psds1` subtracts (alpha_st).
VARIANCE_PENALTY = 1.0


class DetectionCurve(NamedTuple):
    """True positive ratio over the rate of false alarms of one class.

    Attributes:
        true_positive_ratio: float64 `[p]`, ascending.
        false_alarms_per_hour: float64 `[p]`, ascending, at most 100.
    """

    true_positive_ratio: np.ndarray
    false_alarms_per_hour: np.ndarray


def detection_curves(
    scores: ScoreFrames, ground_truth: GroundTruth, durations: dict[str, float]
) -> dict[str, DetectionCurve]:
    """Computes the curve of each class; without cross triggers they are independent.

    Any part of the classes may be given at a time, always with the same clips.

    Args:
        scores: frames of the clips.
        ground_truth: events of these clips; no two of a class overlap or touch, and
            every class has one.
        durations: seconds of each of these clips.

    Returns:
        `{class key: curve}`.
    """
    library = sed_library.load(_MODULE)
    _, curves = library.psd_roc(
        scores,
        ground_truth,
        durations,
        dtc_threshold=DETECTION_TOLERANCE,
        gtc_threshold=GROUND_TRUTH_INTERSECTION,
        max_efpr=MAX_FALSE_ALARMS_PER_HOUR,
    )
    return {key: DetectionCurve(*curve[:2]) for key, curve in curves.items()}


def class_psds(curve: DetectionCurve) -> float:
    """Returns the area under the curve of one class, 0 to 1."""
    return _area(*curve)


def psds1(
    curves: dict[str, DetectionCurve], penalty: float = VARIANCE_PENALTY
) -> float:
    """Returns the area under the mean curve minus `penalty` standard deviations.

    The mean is taken over classes at each false alarm rate; where the penalty makes it
    negative it counts as 0. With penalty 0 the result is `psds1_macro`.

    Args:
        curves: all classes.
        penalty: alpha_st; 1 in the DCASE challenges and in the released code.
    """
    library = sed_library.load(_MODULE)
    # The library takes triples and ignores the third, the thresholds.
    triples = {key: (*curve, None) for key, curve in curves.items()}
    combine = library.multi_class_psd_roc_from_single_class_psd_rocs
    mean, false_alarms = combine(
        triples, alpha_st=penalty, max_efpr=MAX_FALSE_ALARMS_PER_HOUR
    )
    return _area(mean, false_alarms)


def psds1_macro(curves: dict[str, DetectionCurve]) -> float:
    """Returns the mean of the single-class scores: the number the papers report."""
    return float(np.mean([class_psds(curve) for curve in curves.values()]))


def _area(true_positive_ratio: np.ndarray, false_alarms_per_hour: np.ndarray) -> float:
    library = sed_library.load(_MODULE)
    area = library.psds_from_psd_roc(
        true_positive_ratio, false_alarms_per_hour, MAX_FALSE_ALARMS_PER_HOUR
    )
    return float(area)
