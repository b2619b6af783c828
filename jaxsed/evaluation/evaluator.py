"""From stored scores and true events to a table: one call, whatever the measure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import pauroc, psds, tagging
from jaxsed.evaluation.postprocess import (
    PAPER_MEDIAN_SECONDS,
    median_filter,
    median_width_frames,
)
from jaxsed.evaluation.result import Result, examples
from jaxsed.evaluation.score_tables import ScoreTables
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.evaluation.sed_library import ScoreFrames
from jaxsed.evaluation.truth import Truth
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

FRAME_METRICS = ("psds1", "psds1_macro", "pauroc")
CLIP_METRICS = ("map", "auc", "d_prime")

# Classes are taken in chunks whose working memory stays below this: per clip, class and
# frame 4 bytes of scores (8 from TSVs), the rest change points that the library keeps
# (measured: 5 kB for 250 frames).
_CHUNK_BYTES = 1 << 30
_BYTES_A_FRAME = 20


def evaluate(
    scores: ScoreStore | ScoreTables,
    events: Mapping[str, Sequence[Event]],
    vocabulary_of_truth: Vocabulary,
    durations: Mapping[str, float] | None = None,
    metrics: Sequence[str] = FRAME_METRICS,
    median_seconds: float = PAPER_MEDIAN_SECONDS,
    *,
    keep_empty_clips: bool = False,
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

    Returns:
        Summary (`metrics`, and the numbers of clips, classes and events), one row a
        scored class, and notes.

    Raises:
        InputError: nothing is left to score; unknown metric; broken scores.
    """
    _check_metrics(metrics, FRAME_METRICS)
    width = median_width_frames(median_seconds, scores.frame_seconds)
    truth = Truth(scores, events, vocabulary_of_truth, durations, keep_empty_clips)
    values: dict[str, dict[int, float]] = {"psds1": {}, "pauroc": {}}
    curves: dict[str, psds.DetectionCurve] = {}
    most_frames = max(len(scores.timestamps(row)) for row in truth.rows)
    bytes_a_class = _BYTES_A_FRAME * most_frames * len(truth.rows)
    size = max(1, _CHUNK_BYTES // bytes_a_class)
    n_chunks = math.ceil(len(truth.classes) / size)
    for chunk in np.array_split(truth.classes, n_chunks):
        keys = [str(label) for label in chunk]
        ground_truth = truth.ground_truth(chunk)
        clips = _filtered(scores, truth, chunk, width)
        if "psds1" in metrics or "psds1_macro" in metrics:
            frames = ScoreFrames(clips, keys)
            found = psds.detection_curves(frames, ground_truth, truth.durations)
            curves |= found
            values["psds1"] |= {int(k): psds.class_psds(c) for k, c in found.items()}
        if "pauroc" in metrics:
            covering = {
                clip_id: pauroc.cover(*clip, truth.durations[clip_id])
                for clip_id, clip in clips.items()
            }
            found = pauroc.class_pauroc(
                ScoreFrames(covering, keys), ground_truth, truth.durations
            )
            values["pauroc"] |= {int(k): value for k, value in found.items()}
    summary: dict[str, float] = {}
    if "psds1" in metrics:
        summary["psds1"] = psds.psds1(curves)
    if "psds1_macro" in metrics:
        summary["psds1_macro"] = psds.psds1_macro(curves)
    if "pauroc" in metrics:
        summary["pauroc"] = _mean(values["pauroc"].values())
    summary |= {
        "clips": len(truth.rows),
        "classes": len(truth.classes),
        "events": int(sum(truth.n_events.values())),
    }
    per_class = [
        {
            "class": scores.vocabulary.names[label],
            "mid": scores.vocabulary.mids[label] or "",
            "events": truth.n_events[label],
            "seconds": round(truth.seconds[label], 3),
        }
        | {name: found[label] for name, found in values.items() if found}
        for label in truth.classes
    ]
    return Result(summary, per_class, truth.notes, truth.skipped)


def evaluate_clips(
    clip_scores: np.ndarray,
    clip_labels: np.ndarray,
    vocabulary: Vocabulary,
    metrics: Sequence[str] = CLIP_METRICS,
) -> Result:
    """Evaluates clip scores (tagging) against clip labels.

    Args:
        clip_scores: `[n, c]`, logits or probabilities.
        clip_labels: `[n, c]`, nonzero where the class is in the clip.
        vocabulary: the c classes.
        metrics: any of map (mean average precision), auc (mean AUC) and d_prime (of the
            mean AUC). Classes without positive clips do not enter the means; notes
            count them.

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
    values = {
        "map": _mean(found.average_precision),
        "auc": mean_auc,
        "d_prime": float(tagging.d_prime(mean_auc)),
    }
    summary = {name: values[name] for name in metrics}
    summary |= {"clips": len(clip_scores), "classes": int((found.n_positive > 0).sum())}
    per_class = [
        {
            "class": vocabulary.names[c],
            "mid": vocabulary.mids[c] or "",
            "clips": int(found.n_positive[c]),
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
    return Result(summary, per_class, notes)


def _filtered(
    scores, truth: Truth, labels: Sequence[int], width: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads some classes of all clips and filters them: `{id: (borders, [t, c])}`."""
    clips = {}
    for positions, block in scores.blocks(truth.rows, labels):
        if not np.isfinite(block).all():
            broken = np.isfinite(block).all(axis=(1, 2)).argmin()
            clip_id = scores.ids[truth.rows[positions[broken]]]
            raise InputError(f"the scores of clip {clip_id!r} are not finite numbers")
        for position, clip in zip(positions, median_filter(block, width), strict=True):
            row = truth.rows[position]
            clips[scores.ids[row]] = (scores.timestamps(row), clip)
    return clips


def _check_metrics(metrics: Sequence[str], known: Sequence[str]) -> None:
    odd = [name for name in metrics if name not in known]
    if odd or not metrics:
        what = f"unknown metric {odd[0]!r}" if odd else "no metric given"
        raise InputError(f"{what}; expected some of {', '.join(known)}")


def _mean(values: Any) -> float:
    values = np.array(list(values), float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else math.nan
