"""Sound events in seconds, and the 40 ms label frames they fall into.

A label frame is 40 ms; 10 s are 250 of them (Li et al. 2024, section 3; PretrainedSED
`helpers/encode.py`: onset rounded down, offset rounded up and exclusive).

The released code passes times through float32 and compares without a tolerance: of the
249 inner frame borders of a clip, 118 gain a frame when used as an offset and 122 start
a frame early when used as an onset. Here times are float64 and one that lies within
`TIME_TOLERANCE_SECONDS` of a border counts as on it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError

FRAME_SECONDS = 0.04
CLIP_FRAMES = 250
TIME_TOLERANCE_SECONDS = 1e-6  # annotations have at most milliseconds


class Event(NamedTuple):
    """A sound event.

    Attributes:
      onset: Start, seconds from the start of the clip.
      offset: End (exclusive), seconds from the start of the clip.
      label: Class index.
    """

    onset: float
    offset: float
    label: int


class ScoredEvent(NamedTuple):
    """A detected event: an `Event` with the model's score in [0, 1]."""

    onset: float
    offset: float
    label: int
    score: float


def onset_frames(onset_seconds: np.ndarray) -> np.ndarray:
    """Returns the label frame (int64) in which each onset lies: rounded down."""
    return _frames(onset_seconds, np.floor)


def offset_frames(offset_seconds: np.ndarray) -> np.ndarray:
    """Returns the first label frame (int64) after each offset: rounded up."""
    return _frames(offset_seconds, np.ceil)


def _frames(seconds: np.ndarray, rounding) -> np.ndarray:
    frames = np.asarray(seconds, np.float64) / FRAME_SECONDS
    if np.isnan(frames).any():
        raise InputError("an event time is NaN; expected seconds")
    frames = np.clip(frames, -(2**31), 2**31)  # infinite: far outside
    border = np.rint(frames)
    on_border = np.abs(frames - border) <= TIME_TOLERANCE_SECONDS / FRAME_SECONDS
    return np.where(on_border, border, rounding(frames)).astype(np.int64)


def frame_targets(
    events: Sequence[Event], n_classes: int, n_frames: int = CLIP_FRAMES
) -> np.ndarray:
    """Marks the label frames that events touch.

    What lies before frame 0 or after the last frame is cut off. An event that ends
    where it starts marks the frame around it, or nothing on a frame border.

    Args:
      events: Events of one clip, in any order, overlapping or not.
      n_classes: Width of the target.
      n_frames: Length of the target in label frames.

    Returns:
      uint8 `[n_frames, n_classes]`, 1 where a class is active.

    Raises:
      InputError: A label outside `[0, n_classes)`, or a time that is NaN.
    """
    targets = np.zeros((n_frames, n_classes), np.uint8)
    if not len(events):
        return targets
    check_labels(events, n_classes)
    first = np.clip(onset_frames([event.onset for event in events]), 0, n_frames)
    last = np.clip(offset_frames([event.offset for event in events]), 0, n_frames)
    for event, start, stop in zip(events, first, last, strict=True):
        targets[start:stop, event.label] = 1
    return targets


def clip_targets(events: Iterable[Event], n_classes: int) -> np.ndarray:
    """Returns uint8 `[n_classes]`, 1 for every class with at least one event.

    Raises:
      InputError: A label outside `[0, n_classes)`.
    """
    events = list(events)
    check_labels(events, n_classes)
    targets = np.zeros(n_classes, np.uint8)
    targets[[event.label for event in events]] = 1
    return targets


def merge_overlapping(events: Iterable[Event]) -> list[Event]:
    """Merges events of the same class that overlap or touch.

    PretrainedSED `data_util/audioset_strong.py` does the same to training labels and to
    the ground truth of the evaluation.

    Returns:
      Events sorted by onset, offset, label.
    """
    merged: list[Event] = []
    for event in sorted(events, key=lambda event: (event.label, event[:2])):
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.label == event.label
            and event.onset <= last.offset + TIME_TOLERANCE_SECONDS
        ):
            offset = max(last.offset, event.offset)
            merged[-1] = Event(last.onset, offset, last.label)
        else:
            merged.append(Event(*event[:3]))
    return sorted(merged)


def events_from_scores(
    scores: np.ndarray,
    threshold: float | np.ndarray,
    *,
    frame_seconds: float = FRAME_SECONDS,
    duration_seconds: float | None = None,
) -> list[ScoredEvent]:
    """Turns frame scores into events: maximal runs of frames above the threshold.

    Args:
      scores: `[t, c]`, any float type.
      threshold: A number, or one a class `[c]`; a frame is active if its score is
        *greater*.
      frame_seconds: Length of a frame.
      duration_seconds: Length of the sound; times are cut to it, and events that start
        at or after it are dropped.

    Returns:
      Events sorted by onset, offset, label. `score` is the *highest* score in the run:
      the event is found with exactly the thresholds below its score.

    Raises:
      InputError: `scores` is not two-dimensional or holds NaN.
    """
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise InputError(f"scores must be [frames, classes], got {list(scores.shape)}")
    if np.isnan(scores).any():
        raise InputError("scores hold NaN; the model or its input is broken")
    n_frames, n_classes = scores.shape
    if not scores.size:
        return []
    # One frame of "inactive" on either side, classes in a row: every run then starts
    # and ends inside its own class, and one reduction serves all runs.
    padded = np.full((n_classes, n_frames + 2), -np.inf)
    padded[:, 1:-1] = scores.T
    active = np.zeros(padded.shape, bool)
    active[:, 1:-1] = (scores > np.asarray(threshold)).T
    edges = np.flatnonzero(np.diff(active.ravel()))
    if not edges.size:
        return []
    starts, stops = edges[::2] + 1, edges[1::2] + 1
    bounds = np.stack([starts, stops], axis=1).ravel()
    peaks = np.maximum.reduceat(padded.ravel(), bounds)[::2]
    labels, first = np.divmod(starts, n_frames + 2)
    onsets = (first - 1) * frame_seconds
    offsets = onsets + (stops - starts) * frame_seconds
    if duration_seconds is not None:
        offsets = np.minimum(offsets, duration_seconds)
    columns = onsets.tolist(), offsets.tolist(), labels.tolist(), peaks.tolist()
    return sorted(
        ScoredEvent(*values) for values in zip(*columns) if values[0] < values[1]
    )


def check_labels(events: Iterable[Event], n_classes: int) -> None:
    """Refuses events of classes that there are not.

    Raises:
      InputError: A label outside `[0, n_classes)`.
    """
    for event in events:
        if not 0 <= event.label < n_classes:
            raise InputError(
                f"event label {event.label} is not a class index below {n_classes}"
            )
