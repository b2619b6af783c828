"""From a sound file of any length to events, in memory that does not grow with it.

Sound, frame logits and frame scores flow through generators in pieces of seconds. What
wants to see them on the way (a writer, a picture) is called with each piece.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsed.audio import decode
from jaxsed.evaluation import hear
from jaxsed.evaluation.bounding_boxes import Boxes, BoxSettings, BoxStream
from jaxsed.evaluation.median import median_filter_by_class
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.probabilities import sigmoid
from jaxsed.labels.events import ScoredEvent, events_from_scores

BLOCK_SECONDS = 10.0
Observer = Callable[[np.ndarray], object]


class Detections(NamedTuple):
    """What was found in a sound file.

    Attributes:
      events: Sorted by onset, offset, label; cut to the sound's length.
      duration_seconds: Length of the sound.
      best: The frame and class with the highest score, an event or not.
      truncated: The file holds less sound than its header promises.
    """

    events: list[ScoredEvent]
    duration_seconds: float
    best: ScoredEvent
    truncated: bool = False


def detect(
    detector,
    path: str | Path,
    postprocessing: Postprocessing,
    *,
    overlap: float | None = None,
    on_audio: Sequence[Observer] = (),
    on_scores: Sequence[Observer] = (),
    on_filtered: Sequence[Observer] = (),
) -> Detections:
    """Detects events in a sound file of any length.

    Args:
      detector: A `detector.Detector`.
      path: The file.
      postprocessing: How the scores become events.
      overlap: Part of a window shared with the next; None for the detector's.
      on_audio: Called with each block of samples, float32 `[n]`.
      on_scores: Called with each piece of scores before the filter, `[k, c]` in [0, 1].
      on_filtered: Called with each piece of scores after the filter, likewise. Bounding
        boxes have none.

    Raises:
      AudioError: The file cannot be used.
      InputError: The model has none of the classes that the post-processing was tuned for.
    """
    postprocessing.check_classes(detector.labels)
    widths = postprocessing.median_widths(detector.labels, detector)
    if postprocessing.makes_boxes:
        settings = postprocessing.box_settings(detector.labels)
        tracker = BoxTracker(postprocessing, settings, detector.frame_seconds)
    else:
        tracker = EventTracker(postprocessing, detector.frame_seconds)
    best = _Best(detector.frame_seconds)
    length = _Length()
    cut_off: list[bool] = []
    # Closed at once if an observer fails, so that the file does not stay open.
    with contextlib.closing(
        decode.stream_mono(
            path,
            detector.sample_rate,
            BLOCK_SECONDS,
            on_truncated=lambda: cut_off.append(True),
        )
    ) as blocks:
        blocks = tee(blocks, [length.add, *on_audio])
        scores = map(sigmoid, detector.stream_logits(blocks, overlap))
        filtered = median_filtered(tee(scores, on_scores), widths)
        for _ in tee(filtered, [tracker.add, best.add, *on_filtered]):
            pass
    duration = length.samples / detector.sample_rate
    events = tracker.finish(duration)
    return Detections(events, duration, best.event, truncated=bool(cut_off))


def tee(
    pieces: Iterable[np.ndarray], observers: Sequence[Observer]
) -> Iterator[np.ndarray]:
    """Shows every piece to the observers before it is handed on."""
    for piece in pieces:
        for observer in observers:
            observer(piece)
        yield piece


def median_filtered(
    pieces: Iterable[np.ndarray], widths: Sequence[int]
) -> Iterator[np.ndarray]:
    """Median filter along time over scores that arrive in pieces.

    Joined, the result is `median_filter_by_class` of the joined pieces, value for value.

    Args:
      pieces: `[k, c]` each.
      widths: Of the c classes, in frames.

    Yields:
      Pieces `[k, c]`, none of them empty, with a delay of half the greatest width.
    """
    width = max(widths)
    if width <= 1:
        yield from pieces
        return
    before = width // 2
    after = width - 1 - before
    held, n_given = None, 0  # `held` starts with `n_given` frames of context
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece])
        n_ready = len(held) - after
        if n_ready <= n_given:
            continue
        yield median_filter_by_class(held, widths)[n_given:n_ready]
        drop = max(0, n_ready - before)
        held, n_given = held[drop:], n_ready - drop
    if held is not None and n_given < len(held):
        yield median_filter_by_class(held, widths)[n_given:]


class EventTracker:
    """`events_from_scores` over scores that arrive in pieces.

    Only events are kept, finished ones and those still going on.

    Args:
      postprocessing: Has the threshold, and what an event's times are.
      frame_seconds: Length of a frame.
    """

    def __init__(self, postprocessing: Postprocessing, frame_seconds: float):
        self._postprocessing = postprocessing
        self._frame_seconds = frame_seconds
        self._n_frames = 0
        self._open: dict[int, tuple[int, float]] = {}  # label: first frame, peak
        self._runs: list[tuple[int, int, int, float]] = []  # first, end, label, peak

    def add(self, scores: np.ndarray) -> None:
        """Takes the next frames, `[k, c]`."""
        going_on, self._open = self._open, {}
        n_frames = len(scores)
        for run in events_from_scores(
            scores, self._postprocessing.threshold, frame_seconds=1
        ):
            start, peak = self._n_frames + int(run.onset), run.score
            if run.onset == 0 and run.label in going_on:
                start, earlier_peak = going_on.pop(run.label)
                peak = max(peak, earlier_peak)
            if run.offset == n_frames:
                self._open[run.label] = start, peak
            else:
                end = self._n_frames + int(run.offset)
                self._runs.append((start, end, run.label, peak))
        self._close(going_on)
        self._n_frames += n_frames

    def _close(self, runs: dict[int, tuple[int, float]]) -> None:
        for label, (start, peak) in runs.items():
            self._runs.append((start, self._n_frames, label, peak))

    def finish(self, duration_seconds: float) -> list[ScoredEvent]:
        """Ends what is still going on and returns all events.

        Args:
          duration_seconds: Length of the sound; events are cut to it.
        """
        self._close(self._open)
        self._open = {}
        seconds = self._frame_seconds
        start, end, label, peak = np.array(self._runs, float).reshape(-1, 4).T
        onset = start * seconds
        offset = onset + (end - start) * seconds
        if self._postprocessing.between_centres:
            onset, offset = hear.between_centres(onset, offset, seconds, seconds)
        return self._postprocessing.finished(
            onset, offset, label, peak, duration_seconds
        )


class BoxTracker:
    """Bounding boxes of scores that arrive in pieces.

    Kept are boxes above the threshold, and what later scores may still change.

    Args:
      postprocessing: Has the threshold.
      settings: Of the boxes of each class.
      frame_seconds: Length of a frame.
    """

    def __init__(
        self,
        postprocessing: Postprocessing,
        settings: Sequence[BoxSettings],
        frame_seconds: float,
    ):
        self._postprocessing = postprocessing
        self._stream = BoxStream(settings)
        self._frame_seconds = frame_seconds
        self._n_frames = 0
        self._boxes: list[Boxes] = []

    def add(self, scores: np.ndarray) -> None:
        """Takes the next frames, `[k, c]`."""
        frames = self._n_frames + np.arange(len(scores) + 1)
        self._keep(self._stream.add(scores, frames * self._frame_seconds))
        self._n_frames += len(scores)

    def _keep(self, boxes: Boxes) -> None:
        above = boxes.confidence > self._postprocessing.threshold
        self._boxes.append(boxes.these(above))

    def finish(self, duration_seconds: float) -> list[ScoredEvent]:
        """Ends what is still going on and returns all events.

        Args:
          duration_seconds: Length of the sound; events are cut to it.
        """
        self._keep(self._stream.finish())
        label, onset, offset, score = map(
            np.concatenate, zip(*self._boxes, strict=True)
        )
        return self._postprocessing.finished(
            onset, offset, label, score, duration_seconds
        )


class Clock:
    """Tells how many seconds of a sound have gone by.

    Args:
      sample_rate: Of the sound, Hz.
      progress: Called with the seconds after every block.
    """

    def __init__(self, sample_rate: int, progress: Callable[[float], object]):
        self._seconds_per_sample = 1 / sample_rate
        self._samples = 0
        self._progress = progress

    def add(self, block: np.ndarray) -> None:
        """Takes the next samples, `[n]`."""
        self._samples += len(block)
        self._progress(self._samples * self._seconds_per_sample)


class _Length:
    samples = 0

    def add(self, block: np.ndarray) -> None:
        self.samples += len(block)


class _Best:
    def __init__(self, frame_seconds: float):
        self._frame_seconds = frame_seconds
        self._n_frames = 0
        self.event = ScoredEvent(0.0, 0.0, 0, -1.0)

    def add(self, scores: np.ndarray) -> None:
        frame, label = np.unravel_index(np.argmax(scores), scores.shape)
        score = float(scores[frame, label])
        if score > self.event.score:
            onset = (self._n_frames + int(frame)) * self._frame_seconds
            offset = onset + self._frame_seconds
            self.event = ScoredEvent(onset, offset, int(label), score)
        self._n_frames += len(scores)
