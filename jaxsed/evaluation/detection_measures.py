"""Measures of detections by name: what is right at one threshold.

Events are those that a post-processing makes of the scores, and the truth is taken as it
was annotated, overlapping events and all. All classes count that model and truth both
know, those without a true event too: there every detection is wrong. `event_f1` alone is a
mean over classes, as sed_eval's, of those that have a true event.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from jaxsed.evaluation.counts import Counts, Errors
from jaxsed.evaluation.detected_events import detected_events
from jaxsed.evaluation.event_based import (
    EVENT_BASED,
    ONSET_50_MS,
    ONSET_200_MS,
    ONSET_OFFSET_50_MS_20_PERCENT,
    event_counts,
)
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.probabilities import probabilities
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.segment_based import segment_counts
from jaxsed.evaluation.truth import Truth

# HEAR's names for the first three are event_onset_200ms_fms and so on.
COLLARS = {
    "onset_f1_200ms": ONSET_200_MS,
    "onset_f1_50ms": ONSET_50_MS,
    "onset_offset_f1_50ms_20perc": ONSET_OFFSET_50_MS_20_PERCENT,
    "event_f1": EVENT_BASED,
}
# The others count all classes together; DCASE's task 4 takes the mean over classes.
_MACRO = ("event_f1",)
METRICS = (*COLLARS, "segment_1s_er", "segment_1s_f1")


def detection_measures(
    scores: ScoreStore | ScoreTables,
    truth: Truth,
    postprocessing: Postprocessing,
    metrics: Sequence[str],
    progress: bool = True,
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """Computes measures of detections.

    Args:
        scores: stored scores.
        truth: which clips count, and their events.
        postprocessing: makes events of scores.
        metrics: any of `METRICS`.
        progress: show a progress bar on a terminal where it takes long.

    Returns:
        `{metric: value}`, and `{class: {metric: value}}` of the classes with events, of
        metrics that single classes have.

    Raises:
        InputError: scores that are not finite, or are no probabilities where those are
            expected, or clips whose frames have no one width in the median filter.
    """
    from tqdm import tqdm

    names = [scores.vocabulary.names[label] for label in truth.common]
    n_classes = len(names)
    widths = postprocessing.median_widths(names, scores)
    of_label = {label: place for place, label in enumerate(truth.common)}
    collars = {name: COLLARS[name] for name in metrics if name in COLLARS}
    counts = dict.fromkeys(
        [*collars, "segments"], Counts(*np.zeros((3, n_classes), int))
    )
    errors = Errors()
    clips = tqdm(
        _clips(scores, truth),
        total=len(truth.rows),
        desc="detecting",
        unit="clip",
        disable=None if progress else True,
        delay=2.0,
    )
    for clip, of_clip in clips:
        borders = scores.timestamps(truth.rows[clip])
        seconds = truth.durations[clip]
        said = detected_events(of_clip, borders, names, postprocessing, widths, seconds)
        true = [e._replace(label=of_label[e.label]) for e in truth.annotated[clip]]
        true, said = {"": true}, {"": said}
        for name, collar in collars.items():
            counts[name] += event_counts(true, said, n_classes, collar)
        found, wrong = segment_counts(true, said, n_classes)
        counts["segments"] += found
        errors += wrong
    summary = {
        name: counts[name].macro_f_measure()
        if name in _MACRO
        else counts[name].f_measure()
        for name in collars
    }
    summary["segment_1s_er"] = errors.rate()
    summary["segment_1s_f1"] = counts["segments"].f_measure()
    counts["segment_1s_f1"] = counts.pop("segments")
    of_classes = {
        name: counts[name].class_f_measures() for name in metrics if name in counts
    }
    per_class = {
        label: {n: float(values[of_label[label]]) for n, values in of_classes.items()}
        for label in truth.classes
    }
    return {name: summary[name] for name in metrics}, per_class


def _clips(scores, truth: Truth) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the place of each clip in the truth and its probabilities `[t, c]`."""
    for clips, of_classes in scores.blocks(truth.rows, truth.common):
        stop = 0
        for clip in clips:
            row = truth.rows[clip]
            start, stop = stop, stop + len(scores.timestamps(row)) - 1
            of_clip = np.stack([frames[start:stop] for frames in of_classes], axis=1)
            yield clip, probabilities(of_clip[None], [scores.ids[row]])[0]
