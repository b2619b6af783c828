"""Segment-based counts: which classes are active in each second.

sed_eval's `SegmentBasedMetrics`; a class is active in every segment that an event of it
touches.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation.counts import Counts, Errors
from jaxsed.evaluation.event_based import check_clips
from jaxsed.labels.events import Event, check_labels

SEGMENT_SECONDS = 1.0  # HEAR's segment_1s_er, DCASE's segment-based error rate


def segment_counts(
    truth: Mapping[str, Sequence[Event]],
    detected: Mapping[str, Sequence[Event]],
    n_classes: int,
    segment_seconds: float = SEGMENT_SECONDS,
) -> tuple[Counts, Errors]:
    """Counts active segments of each class, and errors over all classes.

    In a segment, a class too many and a class too few make one substitution.

    Args:
        truth: true events of every clip.
        detected: detections; a clip that is not there has none.
        n_classes: labels are below it.
        segment_seconds: length of a segment.

    Raises:
        InputError: detections of a clip that has no truth, an unknown label, or a
            length that is not positive.
    """
    check_clips(truth, detected)
    if not segment_seconds > 0:
        raise InputError(f"segments of {segment_seconds} s: give a positive length")
    counts = Counts(*np.zeros((3, n_classes), np.int64))
    errors = Errors()
    for clip, true_events in truth.items():
        said_events = detected.get(clip, ())
        ends = [event.offset for event in (*true_events, *said_events)]
        n_segments = int(np.ceil(max(ends, default=0.0) / segment_seconds))
        true = activity(true_events, n_classes, n_segments, segment_seconds)
        said = activity(said_events, n_classes, n_segments, segment_seconds)
        right = true & said
        counts += Counts(true.sum(axis=0), said.sum(axis=0), right.sum(axis=0))
        true_active, said_active = true.sum(axis=1), said.sum(axis=1)
        right_active = right.sum(axis=1)
        errors += Errors(
            reference=int(true_active.sum()),
            substitutions=int(
                (np.minimum(true_active, said_active) - right_active).sum()
            ),
            deletions=int(np.maximum(0, true_active - said_active).sum()),
            insertions=int(np.maximum(0, said_active - true_active).sum()),
        )
    return counts, errors


def activity(
    events: Sequence[Event], n_classes: int, n_segments: int, segment_seconds: float
) -> np.ndarray:
    """Returns which classes each segment touches: bool `[n_segments, c]`.

    Raises:
        InputError: an unknown label.
    """
    check_labels(events, n_classes)
    active = np.zeros((n_segments, n_classes), bool)
    for event in events:
        first = int(np.floor(event.onset / segment_seconds))
        stop = int(np.ceil(event.offset / segment_seconds))
        active[max(first, 0) : stop, event.label] = True
    return active
