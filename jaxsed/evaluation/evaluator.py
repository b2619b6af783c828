"""From stored scores and true events to a table: one call, whatever the measure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import psds, tagging
from jaxsed.evaluation.class_measures import ClassMeasures, class_measures
from jaxsed.evaluation.postprocess import PAPER_MEDIAN_SECONDS, median_width_frames
from jaxsed.evaluation.result import MissingClips, Result, examples
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.truth import ClassEvents, Truth
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

FRAME_METRICS = ("psds1", "psds1_macro", "pauroc")
CLIP_METRICS = ("map", "auc", "d_prime", "accuracy")


def evaluate(
    scores: ScoreStore | ScoreTables,
    events: Mapping[str, Sequence[Event]],
    vocabulary_of_truth: Vocabulary,
    durations: Mapping[str, float] | None = None,
    metrics: Sequence[str] = FRAME_METRICS,
    median_seconds: float = PAPER_MEDIAN_SECONDS,
    *,
    keep_empty_clips: bool = False,
    missing: MissingClips | None = None,
    progress: bool = True,
) -> Result:
    """Evaluates frame scores against true events.

    As in the released code (PretrainedSED ex_audioset_strong.py), only classes that
    both the model and the truth know are scored, and clips without an event of these
    classes are left out. Overlapping and touching events of a class are merged. What
    was left out is counted in the notes.

    Args:
        scores: the model's frame scores.
        events: true events of each clip; labels index `vocabulary_of_truth`. A clip
            with an empty list is known to be without events.
        vocabulary_of_truth: meaning of the labels.
        durations: clip lengths in seconds; those of the scores where absent.
        metrics: any of psds1 (with the variance penalty), psds1_macro (mean over
            classes, the papers' number) and pauroc.
        median_seconds: width of the median filter; 0 is off.
        keep_empty_clips: also score the clips without events, where every detection is
            a false alarm.
        missing: what a partial copy of the data lacks; adds the column `missing`.
        progress: show a progress bar on a terminal where it takes long.

    Returns:
        Summary (`metrics`, and the numbers of clips, classes and events), one row a
        scored class, and notes.

    Raises:
        InputError: nothing is left to score; unknown metric; broken scores.
    """
    _check_metrics(metrics, FRAME_METRICS)
    width = median_width_frames(median_seconds, scores.frame_seconds)
    truth = Truth(scores, events, vocabulary_of_truth, durations, keep_empty_clips)
    measures = class_measures(
        scores,
        truth,
        width,
        curves="psds1" in metrics or "psds1_macro" in metrics,
        pauroc="pauroc" in metrics,
        progress=progress,
    )
    summary = _summary(measures, metrics) | {
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
        | ({"psds1": psds.class_psds(of_class.curve)} if of_class.curve else {})
        | ({} if of_class.pauroc is None else {"pauroc": of_class.pauroc})
        for label, of_class in measures.items()
    ]
    notes = truth.notes + (missing.notes() if missing else [])
    return Result(summary, per_class, notes, truth.skipped)


def _summary(
    measures: Mapping[int, ClassMeasures], metrics: Sequence[str]
) -> dict[str, float]:
    curves = {label: found.curve for label, found in measures.items()}
    compute = {
        "psds1": lambda: psds.psds1(curves),
        "psds1_macro": lambda: psds.psds1_macro(curves),
        "pauroc": lambda: _mean([found.pauroc for found in measures.values()]),
    }
    return {name: compute[name]() for name in FRAME_METRICS if name in metrics}


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
