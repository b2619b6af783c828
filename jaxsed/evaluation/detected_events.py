"""Events of the scores of a clip, by any post-processing.

`jaxsed.inference.stream` makes the same events of scores that arrive in pieces.
"""

from collections.abc import Sequence

import numpy as np

from jaxsed.evaluation import hear
from jaxsed.evaluation.bounding_boxes import bounding_boxes_of_classes
from jaxsed.evaluation.median import median_filter_by_class
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.labels.events import ScoredEvent, events_from_scores


def detected_events(
    scores: np.ndarray,
    borders: np.ndarray,
    names: Sequence[str],
    postprocessing: Postprocessing,
    widths_frames: Sequence[int],
    duration_seconds: float,
) -> list[ScoredEvent]:
    """Makes events of the scores of a clip.

    Args:
        scores: `[t, c]`, probabilities.
        borders: borders of the frames in seconds, `[t + 1]`.
        names: of the c classes.
        postprocessing: how.
        widths_frames: of the median filter of each class (`median_widths`).
        duration_seconds: length of the sound, to which events are cut.

    Returns:
        Events sorted by onset, offset, label, each with its highest score, or the
        confidence of its box.
    """
    threshold = postprocessing.threshold
    if postprocessing.makes_boxes:
        settings = postprocessing.box_settings(names)
        boxes = bounding_boxes_of_classes(scores, borders, settings)
        label, onset, offset, score = boxes.these(boxes.confidence > threshold)
        return postprocessing.finished(onset, offset, label, score, duration_seconds)
    scores = median_filter_by_class(scores, widths_frames)
    runs = events_from_scores(scores, threshold, frame_seconds=1)
    first, stop, label, score = np.array(runs).reshape(-1, 4).T
    first, stop = first.astype(int), stop.astype(int)
    onset, offset = borders[first], borders[stop]
    if postprocessing.between_centres:
        lengths = np.diff(borders)
        onset, offset = hear.between_centres(
            onset, offset, lengths[first], lengths[stop - 1]
        )
    return postprocessing.finished(onset, offset, label, score, duration_seconds)
