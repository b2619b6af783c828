"""Scores a prepared data set with a model on the mesh."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxsed.data import pipelines
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS, offset_frames
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.metrics import clip_metrics, frame_metrics, new_store, of_frames
from jaxsed.training import sharding

INT16_SCALE = 1 / 32768  # audio on the wire is 16 bit
EVAL_SECONDS = CLIP_FRAMES * FRAME_SECONDS  # that are heard of a clip, 10 s


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a model says of some clips of a data set; numpy, filler clips left out.

    Attributes:
        rows: int [b], rows in the data set.
        logits: float16 [b, t, c] as they are stored: of 250 frames, or of one that is
            the clip where frames are not asked for.
        clip_logits: float32 [b, c].
    """

    rows: np.ndarray
    logits: np.ndarray
    clip_logits: np.ndarray


def make_predict(
    model: SoundEventModel, mesh: Mesh, param_shardings: Any, frames: bool = True
) -> Callable[[Any, dict], dict]:
    """Returns the compiled `(params, batch on the wire) -> outputs`, held everywhere.

    Outputs are replicated, so every process sees the whole batch whichever part of
    it the process fed.

    Args:
        model: the model.
        mesh: devices.
        param_shardings: how the parameters given later are laid out.
        frames: whether anybody asks for frame-level logits.
    """

    def predict(params: Any, batch: dict) -> dict:
        audio = batch["audio"].astype(jnp.float32) * INT16_SCALE
        logits, out = model.apply({"params": params}, model.frontend(audio))
        if not frames:
            logits = out["clip_logits"][:, None]
        return {
            # As they are stored: half the bytes from device to device and to the host.
            "logits": logits.astype(jnp.float16),
            "clip_logits": out["clip_logits"].astype(jnp.float32),
            "index": batch["index"],
            "valid": batch["valid"],
        }

    return jax.jit(
        predict,
        in_shardings=(param_shardings, sharding.batch_sharding(mesh)),
        out_shardings=sharding.replicated(mesh),
    )


def predict_all(
    predict: Callable,
    params: Any,
    data: PreparedData,
    mesh: Mesh,
    sample_rate: int,
    batch_size: int,
    clip_seconds: float = EVAL_SECONDS,
    workers: int = 0,
) -> Iterator[Predicted]:
    """Yields predictions for every clip, in order; arguments as of `run_all`.

    Args:
        predict: from `make_predict`.
        params: on the devices.
        data: the clips.
        mesh: devices.
        sample_rate: that the model hears, Hz.
        batch_size: clips a forward pass.
        clip_seconds: length of what the model is given.
        workers: loader processes.
    """
    for out in run_all(
        predict, params, data, mesh, sample_rate, batch_size, clip_seconds, workers
    ):
        yield Predicted(out["index"], out["logits"], out["clip_logits"])


def run_all(
    predict: Callable,
    params: Any,
    data: PreparedData,
    mesh: Mesh,
    sample_rate: int,
    batch_size: int,
    clip_seconds: float = EVAL_SECONDS,
    workers: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields what a compiled function gives for every clip, in order.

    Of longer clips the first `clip_seconds` are heard, shorter ones are filled up. The
    next batch is being computed while the caller has the last one.

    Args:
        predict: `(params, batch) -> {name: [b, ...]}`, `valid` among them.
        params: on the devices.
        data: the clips.
        mesh: devices.
        sample_rate: that the model hears, Hz.
        batch_size: clips a forward pass; rounded up to what the devices can share.
        clip_seconds: length of what the model is given.
        workers: loader processes; 0 loads in threads.
    """
    batches = pipelines.evaluation_batches(
        data,
        batch_size=sharding.round_up_batch(batch_size, mesh),
        clip_seconds=clip_seconds,
        n_frames=int(offset_frames(clip_seconds)),
        sample_rate=sample_rate,
        targets=None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        workers=workers,
    )
    with contextlib.closing(batches):
        running = None
        for batch in batches:
            wanted = {name: batch[name] for name in ("audio", "index", "valid")}
            started = predict(params, sharding.put_batch(wanted, mesh))
            if running is not None:
                yield _fetch(running)
            running = started
        yield _fetch(running)


def _fetch(running: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """Without the clips that fill up the last batch."""
    out = jax.device_get(running)
    return {name: array[out["valid"]] for name, array in out.items()}


def require_frame_labels(data: PreparedData, use: str) -> None:
    """Refuses data whose labels say what is in a clip, but not when.

    Args:
        data: prepared.
        use: what frame labels are needed for.

    Raises:
        InputError: it has clip labels only.
    """
    if data.manifest.get("annotation") == "clips":
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

    Args:
        model: the model.
        data: evaluation clips with their events.
        vocabulary: classes of the model's output.
        mesh: devices.
        param_shardings: how the parameters given later are laid out.
        directory: folder of the score store.
        metrics: of `evaluator.FRAME_METRICS` and `evaluator.CLIP_METRICS`.
        median_seconds: width of the median filter; 0.48 in the paper (section III-A).
        batch_size: clips a forward pass.
        clip_seconds: that are heard of a clip, where all metrics are of clips; 0 for 10.
        workers: loader processes; 0 loads in threads.
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
        median_seconds: float = 0.48,
        batch_size: int = 32,
        clip_seconds: float = 0.0,
        workers: int = 0,
    ):
        for metric in of_frames(metrics):
            require_frame_labels(data, metric)
            if clip_seconds not in (0.0, EVAL_SECONDS):
                raise InputError(
                    f"eval.clip_seconds={clip_seconds}: {metric} is of frames, and those "
                    f"of {EVAL_SECONDS:g} s are stored: set it to 0"
                )
        self._clip_seconds = clip_length(clip_seconds or EVAL_SECONDS, model)
        self._frames = CLIP_FRAMES if of_frames(metrics) else 1
        self._sample_rate = model.frontend.sample_rate
        self._predict = make_predict(
            model, mesh, param_shardings, frames=self._frames > 1
        )
        self._data, self._vocabulary, self._mesh = data, vocabulary, mesh
        self._directory = directory
        self._batch_size, self._workers = batch_size, workers
        self._metrics, self._median_seconds = tuple(metrics), median_seconds

    def __call__(self, params: Any) -> dict[str, float]:
        """Returns the metrics; on processes other than 0 an empty dict."""
        store = None
        clip_logits = np.empty((len(self._data), len(self._vocabulary)), np.float32)
        for predicted in predict_all(
            self._predict,
            params,
            self._data,
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
            store.write(predicted.rows, predicted.logits)
            clip_logits[predicted.rows] = predicted.clip_logits
        if store is None:
            return {}
        found = frame_metrics(store, self._data, self._metrics, self._median_seconds)
        return found | clip_metrics(
            clip_logits, self._vocabulary, self._data, self._metrics, store.path
        )

    def _new_store(self) -> ScoreStore:
        seconds = FRAME_SECONDS if self._frames > 1 else self._clip_seconds
        return new_store(
            self._directory, self._data, self._vocabulary, self._frames, seconds
        )
