"""From stored scores and true events to a table: one call, whatever the measure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import detection_measures, psds, tagging
from jaxsed.evaluation.class_measures import class_measures
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.evaluation.result import MissingClips, Result, examples
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.tallies import ClassMeasures
from jaxsed.evaluation.truth import ClassEvents, Truth
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

# Measures of all thresholds, and of one.
THRESHOLD_FREE_METRICS = ("psds1", "psds1_macro", "psds2", "psds2_macro", "pauroc")
FRAME_METRICS = (*THRESHOLD_FREE_METRICS, *detection_measures.METRICS)
CLIP_METRICS = ("map", "auc", "d_prime", "accuracy")
DEFAULT_METRICS = ("psds1", "psds1_macro", "pauroc")


def evaluate(
    scores: ScoreStore | ScoreTables,
    events: Mapping[str, Sequence[Event]],
    vocabulary_of_truth: Vocabulary,
    durations: Mapping[str, float] | None = None,
    metrics: Sequence[str] = DEFAULT_METRICS,
    median_seconds: float | None = None,
    *,
    postprocess: str | Postprocessing = "median",
    min_seconds: float | None = None,
    threshold: float = 0.5,
    keep_empty_clips: bool = False,
    missing: MissingClips | None = None,
    progress: bool = True,
) -> Result:
    """Evaluates frame scores against true events.

    As in the released code (PretrainedSED ex_audioset_strong.py), only classes that
    both the model and the truth know are scored, and clips without an event of these
    classes are left out. For measures of all thresholds, overlapping and touching events
    of a class are merged. What was left out is counted in the notes.

    Args:
        scores: the model's frame scores.
        events: true events of each clip; labels index `vocabulary_of_truth`. A clip
            with an empty list is known to be without events.
        vocabulary_of_truth: meaning of the labels.
        durations: clip lengths in seconds; those of the scores where absent.
        metrics: any of `FRAME_METRICS`. Of all thresholds: psds1 and psds2 (with the
            variance penalty), psds1_macro and psds2_macro (mean over classes; psds1_macro
            is the papers' number on AudioSet Strong), pauroc. Of detections: onset_f1_50ms,
            onset_f1_200ms, onset_offset_f1_50ms_20perc (HEAR), event_f1 (DCASE),
            segment_1s_er, segment_1s_f1.
        median_seconds: width of the median filter; 0 is off, None is the
            post-processing's own: 0.48 as in the paper, or 0.25 of HEAR.
        postprocess: what happens to the scores, see `postprocess.choose`.
        min_seconds: shorter detections are left out; None is the post-processing's own.
        threshold: of detections.
        keep_empty_clips: also score the clips without events, where every detection is
            a false alarm.
        missing: what a partial copy of the data lacks; adds the column `missing`.
        progress: show a progress bar on a terminal where it takes long.

    Returns:
        Summary (`metrics`, and the numbers of clips, classes and events), one row a
        scored class, and notes.

    Raises:
        InputError: nothing is left to score; unknown metric or post-processing; broken
            scores.
    """
    _check_metrics(metrics, FRAME_METRICS)
    chosen = choose(postprocess, median_seconds, min_seconds, threshold)
    chosen.check_classes(scores.vocabulary.names)
    truth = Truth(scores, events, vocabulary_of_truth, durations, keep_empty_clips)
    found, notes = _threshold_free(scores, truth, chosen, metrics, progress)
    values, of_classes = _summary(found, metrics), {}
    asked = [name for name in metrics if name in detection_measures.METRICS]
    if asked:
        of_detections, of_classes = detection_measures.detection_measures(
            scores, truth, chosen, asked, progress
        )
        values |= of_detections
    summary = {name: values[name] for name in FRAME_METRICS if name in metrics} | {
        "clips": len(truth.rows),
        "classes": len(truth.classes),
        "events": sum(len(of_class.clip) for of_class in truth.events.values()),
    }
    absent = {}
    if missing is not None:
        model_labels, labels = scores.vocabulary.common_with(vocabulary_of_truth)
        absent = dict(zip(model_labels, np.array(missing.per_class)[labels]))
    per_class = [
        _row(scores.vocabulary, label, truth.events[label])
        | ({"missing": int(absent[label])} if absent else {})
        | _class_values(found.get(label))
        | of_classes.get(label, {})
        for label in truth.classes
    ]
    notes = truth.notes + notes + (missing.notes() if missing else [])
    return Result(summary, per_class, notes, truth.skipped)


def check(
    metrics: Sequence[str],
    *,
    postprocess: str | Postprocessing = "median",
    median_seconds: float | None = None,
    min_seconds: float | None = None,
    threshold: float = 0.5,
    keep_empty_clips: bool = False,
) -> None:
    """Refuses what an evaluation would refuse, before there are any scores.

    Args:
        metrics: of frames, of clips, or of both.
        postprocess: see `evaluate`, as for the others.
        median_seconds: likewise.
        min_seconds: likewise.
        threshold: likewise.
        keep_empty_clips: likewise.

    Raises:
        InputError: unknown metric or post-processing.
    """
    del keep_empty_clips  # both are right
    _check_metrics(metrics, (*FRAME_METRICS, *CLIP_METRICS))
    choose(postprocess, median_seconds, min_seconds, threshold)


def _threshold_free(
    scores: ScoreStore | ScoreTables,
    truth: Truth,
    chosen: Postprocessing,
    metrics: Sequence[str],
    progress: bool,
) -> tuple[dict[int, ClassMeasures], list[str]]:
    """Returns the measures of all thresholds, by class, and notes on them."""
    scenarios = {
        name: scenario
        for name, scenario in psds.SCENARIOS.items()
        if name in metrics or f"{name}_macro" in metrics
    }
    pauroc = "pauroc" in metrics
    if not (scenarios or pauroc):
        return {}, []
    if not (chosen.makes_boxes and pauroc):
        found = class_measures(
            scores, truth, chosen, scenarios=scenarios, pauroc=pauroc, progress=progress
        )
        return found, []
    of_frames = class_measures(
        scores, truth, Postprocessing(median_seconds=0), scenarios={}, progress=progress
    )
    boxes = class_measures(
        scores, truth, chosen, scenarios=scenarios, pauroc=False, progress=progress
    )
    found = {
        label: of_class._replace(pauroc=of_frames[label].pauroc)
        for label, of_class in boxes.items()
    }
    return found, ["pauroc is of the frame scores, not of bounding boxes"]


def _summary(
    measures: Mapping[int, ClassMeasures], metrics: Sequence[str]
) -> dict[str, float]:
    values = {}
    for name, scenario in psds.SCENARIOS.items():
        curves = {
            label: of_class.curves[name]
            for label, of_class in measures.items()
            if name in of_class.curves
        }
        if name in metrics:
            values[name] = psds.psds(curves, scenario)
        if f"{name}_macro" in metrics:
            values[f"{name}_macro"] = psds.psds_macro(curves, scenario)
    if "pauroc" in metrics:
        values["pauroc"] = _mean([of_class.pauroc for of_class in measures.values()])
    return values


def _class_values(measures: ClassMeasures | None) -> dict[str, float]:
    if measures is None:
        return {}
    values = {
        name: psds.class_psds(curve, psds.SCENARIOS[name])
        for name, curve in measures.curves.items()
    }
    return values | ({} if measures.pauroc is None else {"pauroc": measures.pauroc})


def _row(vocabulary: Vocabulary, label: int, events: ClassEvents) -> dict[str, Any]:
    return {
        "class": vocabulary.names[label],
        "mid": vocabulary.mids[label] or "",
        "events": len(events.clip),
        "seconds": round(float((events.offset - events.onset).sum()), 3),
    }


def evaluate_clips(
    clip_scores: np.ndarray,
    clip_labels: np.ndarray,
    vocabulary: Vocabulary,
    metrics: Sequence[str] = ("map", "auc", "d_prime"),
    missing: MissingClips | None = None,
) -> Result:
    """Evaluates clip scores (tagging) against clip labels.

    Args:
        clip_scores: `[n, c]`, logits or probabilities.
        clip_labels: `[n, c]`, nonzero where the class is in the clip.
        vocabulary: the c classes.
        metrics: any of map (mean average precision), auc (mean AUC), d_prime (of the
            mean AUC, as in AST) and accuracy (top-1, of clips that have one label).
            Classes without positive clips do not enter the means, nor clips without
            labels the accuracy; notes count both.
        missing: what a partial copy of the data lacks, its classes those of
            `vocabulary`; adds the column `missing`.

    Raises:
        InputError: shapes do not fit, NaN scores, no positive clip at all.
    """
    _check_metrics(metrics, CLIP_METRICS)
    found = tagging.tagging_scores(clip_scores, clip_labels)
    if len(found.auc) != len(vocabulary):
        raise InputError(
            f"scores of {len(found.auc)} classes, but vocabulary {vocabulary.name!r} has "
            f"{len(vocabulary)}"
        )
    if not found.n_positive.any():
        raise InputError("no clip has a label; nothing can be scored")
    mean_auc = _mean(found.auc)
    labelled = np.any(clip_labels, axis=1)
    values = {
        "map": _mean(found.average_precision),
        "auc": mean_auc,
        "d_prime": float(tagging.d_prime(mean_auc)),
        "accuracy": tagging.accuracy(clip_scores[labelled], clip_labels[labelled]),
    }
    summary = {name: values[name] for name in metrics}
    summary |= {"clips": len(clip_scores), "classes": int((found.n_positive > 0).sum())}
    per_class = [
        {
            "class": vocabulary.names[c],
            "mid": vocabulary.mids[c] or "",
            "clips": int(found.n_positive[c]),
            **({"missing": int(missing.per_class[c])} if missing else {}),
            "map": float(found.average_precision[c]),
            "auc": float(found.auc[c]),
            "d_prime": float(found.d_prime[c]),
        }
        for c in np.flatnonzero(found.n_positive)
    ]
    notes = []
    without = [vocabulary.names[c] for c in np.flatnonzero(found.n_positive == 0)]
    if without:
        notes.append(
            f"{len(without)} classes without a labelled clip not scored"
            f" ({examples(without)})"
        )
    if not labelled.all() and "accuracy" in metrics:
        n_left_out = int((~labelled).sum())
        notes.append(f"{n_left_out} clips without a label are not in the accuracy")
    notes += missing.notes() if missing else []
    return Result(summary, per_class, notes)


def _check_metrics(metrics: Sequence[str], known: Sequence[str]) -> None:
    odd = [name for name in metrics if name not in known]
    if odd or not metrics:
        what = f"unknown metric {odd[0]!r}" if odd else "no metric given"
        raise InputError(f"{what}; expected some of {', '.join(known)}")


def _mean(values: Any) -> float:
    values = np.array(list(values), float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan
