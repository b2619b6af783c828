"""Events and scores as the HEAR benchmark makes them of frame scores.

Follows hear-eval-kit (Turian et al. 2022; `create_events_from_prediction` and
`available_scores`), parts of which PretrainedSED carries along in `helpers/score.py`.
docs/postprocessing.md lists what differs.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsed.evaluation.event_based import (
    ONSET_50_MS,
    ONSET_200_MS,
    ONSET_OFFSET_50_MS_20_PERCENT,
    event_counts,
)
from jaxsed.evaluation.median import median_filter, median_width_frames
from jaxsed.evaluation.segment_based import segment_counts
from jaxsed.labels.events import FRAME_SECONDS, Event, events_from_scores

# DCASE 2016 task 2, as PretrainedSED runs it (`ex_dcase2016task2.py`). Other tasks of HEAR
# name their own in `task_metadata.json` (`evaluation_params`).
MEDIAN_SECONDS = 0.25
MIN_SECONDS = 0.125
# PretrainedSED compares logits with 0.5, a probability of 0.62; HEAR probabilities.
THRESHOLD = 0.5
_TIME_DECIMALS = 6  # of seconds


def hear_events(
    scores: np.ndarray,
    threshold: float = THRESHOLD,
    median_seconds: float = MEDIAN_SECONDS,
    min_seconds: float = MIN_SECONDS,
    frame_seconds: float = FRAME_SECONDS,
) -> list[Event]:
    """Turns the scores of a file into events.

    An event lasts from the middle of its first frame to the middle of its last one, so
    that one of a single frame has no length at all.

    Args:
        scores: `[t, c]`, probabilities of a whole file.
        threshold: a frame is active if its score is greater.
        median_seconds: width of the median filter; 0 is off.
        min_seconds: shorter events are left out.
        frame_seconds: length of a frame.

    Returns:
        Events sorted by onset, offset, label.
    """
    width = median_width_frames(median_seconds, frame_seconds)
    runs = events_from_scores(
        median_filter(scores, width), threshold, frame_seconds=frame_seconds
    )
    onset, offset, label, _ = np.array(runs).reshape(-1, 4).T
    onset, offset = between_centres(onset, offset, frame_seconds, frame_seconds)
    kept = long_enough(onset, offset, min_seconds)
    columns = onset, offset, label.astype(int)
    return [Event(*values) for values in zip(*(c[kept].tolist() for c in columns))]


def between_centres(
    onset: np.ndarray,
    offset: np.ndarray,
    first_seconds: np.ndarray | float,
    last_seconds: np.ndarray | float,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves events from the borders of their frames to the centres.

    Args:
        onset: seconds `[k]`, start of the first frame.
        offset: seconds `[k]`, end of the last frame.
        first_seconds: length of the first frame.
        last_seconds: length of the last frame.

    Returns:
        Onsets and offsets. Rounded, they are the numbers that the kit's milliseconds
        come to.
    """
    onset = np.round(onset + first_seconds / 2, _TIME_DECIMALS)
    return onset, np.round(offset - last_seconds / 2, _TIME_DECIMALS)


def long_enough(
    onset: np.ndarray, offset: np.ndarray, min_seconds: float
) -> np.ndarray:
    """Says which events last at least so long, bool `[k]`."""
    return np.round(offset - onset, _TIME_DECIMALS) >= min_seconds


def hear_scores(
    truth: Mapping[str, Sequence[Event]],
    detected: Mapping[str, Sequence[Event]],
    n_classes: int,
) -> dict[str, float]:
    """Returns the measures of HEAR's event detection tasks, by HEAR's names.

    Args:
        truth: true events of every file.
        detected: of `hear_events`.
        n_classes: labels are below it.

    Returns:
        `event_onset_200ms_fms`, `event_onset_50ms_fms`,
        `event_onset_offset_50ms_20perc_fms` (F-measures over all classes) and
        `segment_1s_er` (error rate).

    Raises:
        InputError: detections of a file without truth, or an unknown label.
    """
    collars = {
        "event_onset_200ms_fms": ONSET_200_MS,
        "event_onset_50ms_fms": ONSET_50_MS,
        "event_onset_offset_50ms_20perc_fms": ONSET_OFFSET_50_MS_20_PERCENT,
    }
    scores = {
        name: event_counts(truth, detected, n_classes, collar).f_measure()
        for name, collar in collars.items()
    }
    _, errors = segment_counts(truth, detected, n_classes)
    return {**scores, "segment_1s_er": errors.rate()}
