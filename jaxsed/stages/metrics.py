"""Metrics of a model's scores against a prepared data set, and the files beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.data.records import PreparedData
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.result import (
    MissingClips,
    Result,
    write_summary,
    write_table,
)
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS, clip_targets
from jaxsed.labels.vocab import Vocabulary


def of_frames(metrics: Sequence[str]) -> list[str]:
    """Returns those of the metrics that need to know when a class sounds."""
    return [name for name in metrics if name not in evaluator.CLIP_METRICS]


def of_clips(metrics: Sequence[str]) -> list[str]:
    """Returns those of the metrics that take a clip as a whole."""
    return [name for name in metrics if name in evaluator.CLIP_METRICS]


def new_store(
    directory: Path,
    data: PreparedData,
    vocabulary: Vocabulary,
    n_frames: int | Sequence[int] = CLIP_FRAMES,
    frame_seconds: float = FRAME_SECONDS,
) -> ScoreStore:
    """Returns a score store for the clips of `data`, none of which counts as written.

    Args:
        directory: its folder.
        data: the clips.
        vocabulary: the classes.
        n_frames: of a clip, or of each; 1 for scores of whole clips.
        frame_seconds: how long a frame lasts.
    """
    store = ScoreStore.create(
        directory,
        ids=list(data.ids),
        vocabulary=vocabulary,
        durations=data.durations,
        n_frames=n_frames,
        frame_seconds=frame_seconds,
        provenance={"data_manifest": data.manifest_hash},
    )
    store.forget()
    return store


def frame_metrics(
    store: ScoreStore, data: PreparedData, metrics: Sequence[str], **settings: Any
) -> dict[str, float]:
    """Returns the frame-level ones among `metrics` of stored scores against `data`.

    Settings are those of `evaluator.evaluate`, such as `median_seconds`.

    Leaves the table of all classes beside the scores, in `per_class.tsv`, and what was
    left out in `summary.json`. Where the data are a partial copy, `missing_clips` is
    one of the metrics: a score says how many clips it was computed without.
    """
    wanted = of_frames(metrics)
    if not wanted:
        return {}
    truth = {clip: data.events(row) for row, clip in enumerate(data.ids)}
    durations = dict(zip(data.ids, data.durations))
    missing = MissingClips.from_manifest(data.manifest)
    result = evaluator.evaluate(
        store,
        truth,
        data.vocabulary,
        durations,
        metrics=wanted,
        missing=missing,
        **settings,
    )
    return _written(result, wanted, missing, store.path, "")


def clip_metrics(
    clip_logits: np.ndarray,
    vocabulary: Vocabulary,
    data: PreparedData,
    metrics: Sequence[str],
    folder: Path,
) -> dict[str, float]:
    """Returns the clip-level ones among `metrics`; as `frame_metrics` otherwise.

    Args:
        clip_logits: `[clips, c]`, in the order of the data.
        vocabulary: the c classes. Of those that the data lack, none is scored.
        data: the clips with their labels.
        metrics: those of frames are passed over.
        folder: gets `per_class_clips.tsv` and `summary_clips.json`.
    """
    wanted = of_clips(metrics)
    if not wanted:
        return {}
    own, theirs = vocabulary.common_with(data.vocabulary)
    labels = np.zeros(clip_logits.shape, bool)
    for row in range(len(data)):
        labels[row, own] = clip_targets(data.events(row), len(data.vocabulary))[theirs]
    missing = MissingClips.from_manifest(data.manifest)
    per_class = np.zeros(len(vocabulary), int)
    per_class[own] = np.array(missing.per_class)[theirs]
    missing = missing._replace(per_class=per_class)
    result = evaluator.evaluate_clips(clip_logits, labels, vocabulary, wanted, missing)
    return _written(result, wanted, missing, folder, "_clips")


def _written(
    result: Result,
    wanted: Sequence[str],
    missing: MissingClips,
    folder: Path,
    suffix: str,
) -> Mapping[str, float]:
    write_table(result, folder / f"per_class{suffix}.tsv")
    write_summary(result, folder / f"summary{suffix}.json")
    found = {name: result.summary[name] for name in wanted}
    return found | ({"missing_clips": missing.n_absent} if missing.n_absent else {})
