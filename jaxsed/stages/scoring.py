"""Scores a prepared data set with a model on the mesh.

Recordings may be of any length: they are heard 10 s at a time, and what is said of the
slices is put together again (`jaxsed.data.slices`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxsed.data.joined import annotation_of, require_labels
from jaxsed.data.layouts.source import CLIPS
from jaxsed.data.records import PreparedData
from jaxsed.data.slices import Slices
from jaxsed.errors import InputError
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.metrics import clip_metrics, frame_metrics, new_store, of_frames
from jaxsed.stages.predictions import EVAL_SECONDS, make_predict, run_all


def require_frame_labels(data: PreparedData, use: str) -> None:
    """Refuses data whose labels say what is in a clip, but not when.

    Args:
        data: prepared.
        use: what frame labels are needed for.

    Raises:
        InputError: it has clip labels only.
    """
    if annotation_of(data) == CLIPS:
        raise InputError(
            f"{data.directory} has labels of whole clips, but {use} needs the times of "
            "events: prepare data with frame labels"
        )


def clip_length(asked_seconds: float, model: SoundEventModel) -> float:
    """Returns how many seconds of a clip a model is given.

    Args:
        asked_seconds: `clip_seconds` of a config; 0 for what the encoder was made for.
        model: the model.

    Raises:
        InputError: longer than that, or not whole label frames of 40 ms.
    """
    longest = model.encoder.clip_seconds
    seconds = asked_seconds or longest
    n_frames = seconds / FRAME_SECONDS
    if not 0 < seconds <= longest or abs(n_frames - round(n_frames)) > 1e-6:
        raise InputError(
            f"data.clip_seconds={asked_seconds}: expected at most {longest:g} s in "
            f"steps of {FRAME_SECONDS:g} s, or 0 for {longest:g} s"
        )
    return seconds


class Scorer:
    """Evaluates parameters on one data set: `scorer(params) -> {metric: value}`.

    Frame scores, or those of whole clips where no metric is of frames, go to a
    `ScoreStore` in `directory`, the newest replacing the one before, so that any metric
    can be computed later from what a run ends with.

    A clip longer than 10 s is heard as slices of 10 s, one after the other, and the frames
    of all are joined. Its clip logits are the mean of the slices' own, weighted by how
    many frames of the clip they have.

    Args:
        model: the model.
        data: evaluation clips with their events.
        vocabulary: classes of the model's output.
        mesh: devices.
        param_shardings: how the parameters given later are laid out.
        directory: folder of the score store.
        metrics: of `evaluator.FRAME_METRICS` and `evaluator.CLIP_METRICS`.
        batch_size: clips a forward pass.
        clip_seconds: where all metrics are of clips, hears only so much of each, from its
            start; 0 hears them to their end.
        workers: loader processes; 0 loads in threads.
        slices: makes the slices that are heard, with the arguments of `Slices`; those of
            a model without its encoder bring the encoder's frames.
        **settings: of frame metrics, see `evaluator.evaluate`.
    """

    def __init__(
        self,
        model: SoundEventModel,
        data: PreparedData,
        vocabulary: Vocabulary,
        mesh: Mesh,
        param_shardings: Any,
        *,
        directory: Path,
        metrics: Sequence[str] = ("psds1", "psds1_macro", "pauroc"),
        batch_size: int = 32,
        clip_seconds: float = 0.0,
        workers: int = 0,
        slices: Callable[..., Slices] = Slices,
        **settings: Any,
    ):
        evaluator.check(metrics, **settings)
        require_labels(data)
        for metric in of_frames(metrics):
            require_frame_labels(data, metric)
            if clip_seconds not in (0.0, EVAL_SECONDS):
                raise InputError(
                    f"eval.clip_seconds={clip_seconds}: {metric} is of frames, for which "
                    f"clips are heard to their end, {EVAL_SECONDS:g} s at a time: set it "
                    "to 0"
                )
        self._frames = bool(of_frames(metrics))
        self._clip_seconds = clip_length(clip_seconds or EVAL_SECONDS, model)
        first_only = clip_seconds and not self._frames
        self._slices = slices(data, self._clip_seconds, most=1 if first_only else None)
        self._sample_rate = model.frontend.sample_rate
        self._predict = make_predict(model, mesh, param_shardings, self._frames)
        self._data, self._vocabulary, self._mesh = data, vocabulary, mesh
        self._directory = directory
        self._batch_size, self._workers = batch_size, workers
        self._metrics, self._settings = tuple(metrics), settings

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns the metrics; on processes other than 0 an empty dict."""
        store, slices = None, self._slices
        clip_logits = np.zeros((len(self._data), len(self._vocabulary)), np.float32)
        for predicted in run_all(
            self._predict,
            params,
            slices,
            self._mesh,
            self._sample_rate,
            self._batch_size,
            self._clip_seconds,
            workers=self._workers,
        ):
            if jax.process_index() != 0:
                continue
            if store is None:
                store = self._new_store()
            rows = predicted["index"]
            slices.add_to_means(clip_logits, rows, predicted["clip_logits"])
            if self._frames:
                clips, first_frames, _ = slices.slices(rows)
                store.write(clips, predicted["logits"], first_frames)
        if store is None:
            return {}
        if not self._frames:
            store.write(range(len(self._data)), clip_logits[:, None])
        found = frame_metrics(store, self._data, self._metrics, **self._settings)
        return found | clip_metrics(
            clip_logits, self._vocabulary, self._data, self._metrics, store.path
        )

    def _new_store(self) -> ScoreStore:
        frames = self._slices.clip_frames, FRAME_SECONDS
        if not self._frames:
            frames = 1, self._clip_seconds
        return new_store(self._directory, self._data, self._vocabulary, *frames)
