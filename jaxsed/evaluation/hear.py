"""Events and scores as the HEAR benchmark makes them of frame scores.

Follows the HEAR evaluation kit (Turian et al. 2022) as PretrainedSED carries it along in
`helpers/score.py`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsed.evaluation.event_based import (
    ONSET_50_MS,
    ONSET_200_MS,
    ONSET_OFFSET_50_MS_20_PERCENT,
    event_counts,
)
from jaxsed.evaluation.postprocess import median_filter, median_width_frames
from jaxsed.evaluation.segment_based import segment_counts
from jaxsed.labels.events import FRAME_SECONDS, Event, events_from_scores

# DCASE 2016 task 2, as PretrainedSED runs it (`ex_dcase2016task2.py`). Other tasks of HEAR
# name their own in `task_metadata.json` (`evaluation_params`).
MEDIAN_SECONDS = 0.25
MIN_SECONDS = 0.125
# PretrainedSED compares logits with 0.5, a probability of 0.62; HEAR probabilities.
THRESHOLD = 0.5
MILLISECONDS = 1000.0


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
    runs = events_from_scores(median_filter(scores, width), threshold, frame_seconds=1)
    frame_ms = frame_seconds * MILLISECONDS
    events = []
    for first, stop, label, _ in runs:
        start_ms, end_ms = (first + 0.5) * frame_ms, (stop - 0.5) * frame_ms
        if end_ms - start_ms >= min_seconds * MILLISECONDS:
            events.append(Event(start_ms / MILLISECONDS, end_ms / MILLISECONDS, label))
    return events


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
