"""Segment-based partial AUROC, by sed_scores_eval.

Every clip is cut into segments of one second. A segment is positive for a class if a
true event touches it, its score is the highest frame score in it, and the ROC curve of
the class is integrated up to a false positive rate of 0.1 and divided by 0.1
(PretrainedSED ex_audioset_strong.py, on_validation_epoch_end; Ebbers et al. 2022).
"""

import math

import numpy as np

from jaxsed.evaluation import sed_library
from jaxsed.evaluation.sed_library import GroundTruth, ScoreFrames

SEGMENT_SECONDS = 1.0
MAX_FALSE_POSITIVE_RATE = 0.1


def class_pauroc(
    scores: ScoreFrames, ground_truth: GroundTruth, durations: dict[str, float]
) -> dict[str, float]:
    """Computes the partial AUROC of each class, 0 to 1.

    Args:
        scores: frames of the clips, covering them (`cover`).
        ground_truth: events of these clips; every class has one that starts before the
            end of its clip.
        durations: seconds of each of these clips.

    Returns:
        `{class key: pauroc}`; NaN for a class that is active in every segment, for
        which there are no false positives to count.
    """
    library = sed_library.load("segment_based")
    with np.errstate(invalid="ignore"):
        values, _ = library.auroc(
            scores,
            ground_truth,
            durations,
            segment_length=SEGMENT_SECONDS,
            max_fpr=MAX_FALSE_POSITIVE_RATE,
        )
    return {key: float(value) for key, value in values.items() if key != "mean"}


def cover(
    borders: np.ndarray, scores: np.ndarray, duration: float
) -> tuple[np.ndarray, np.ndarray]:
    """Adds a frame of the lowest score up to the end of the clip's last segment.

    sed_scores_eval gives segments without any frame the score 0, which is the lowest
    only of probabilities: among logits it would mean one half.

    Args:
        borders: frame borders in seconds `[t + 1]`.
        scores: `[t, c]`.
        duration: length of the clip in seconds.

    Returns:
        Borders and scores, one frame longer where the clip is longer than the frames.
    """
    end = math.ceil(duration / SEGMENT_SECONDS) * SEGMENT_SECONDS
    if borders[-1] > end - SEGMENT_SECONDS + 1e-6:  # reaches into the last segment
        return borders, scores
    silence = np.full((1, scores.shape[1]), -np.inf)
    return np.append(borders, end), np.concatenate([scores, silence])
