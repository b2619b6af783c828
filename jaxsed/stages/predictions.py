"""What a model says of the clips of a data set, computed on the mesh, batch by batch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxsed.data import pipelines
from jaxsed.data.records import PreparedData
from jaxsed.data.slices import Slices
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS, offset_frames
from jaxsed.models.heads_alone import HeadsAlone
from jaxsed.models.sed import SoundEventModel
from jaxsed.training import sharding

INT16_SCALE = 1 / 32768  # audio on the wire is 16 bit
EVAL_SECONDS = CLIP_FRAMES * FRAME_SECONDS  # that are heard at once, 10 s
BATCHES_AHEAD = 3  # the loader's two threads each compute one; the model has another


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

    Returns:
        A function that gives, of b clips or slices: `logits` float16 [b, t, c] as they
        are stored, of 250 frames, or of one that is the clip where frames are not asked
        for; `clip_logits` float32 [b, c]; `index` int [b], rows in the data; `valid`
        bool [b], false of what fills up the last batch.
    """

    def predict(params: Any, batch: dict) -> dict:
        logits, out = model.apply({"params": params}, *inputs_of(model, batch))
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


def inputs_of(model: SoundEventModel, batch: dict) -> tuple[jax.Array, ...]:
    """Returns what a model is called with, of a batch on the wire.

    That is the mel spectrograms of its audio, or the stored frames that its heads hear.
    """
    if isinstance(model, HeadsAlone):
        return tuple(batch[name] for name in model.heard)
    audio = batch["audio"].astype(jnp.float32) * INT16_SCALE
    return (model.frontend(audio),)


def run_all(
    predict: Callable,
    params: Any,
    data: PreparedData | Slices,
    mesh: Mesh,
    sample_rate: int,
    batch_size: int,
    clip_seconds: float = EVAL_SECONDS,
    workers: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Yields what a compiled function gives for every clip or slice, in order.

    What comes is numpy, batch by batch, without what fills up the last batch.
    Of longer clips the first `clip_seconds` are heard, shorter ones are filled up; slices
    are heard to the end of their clips, which a process decodes once. The next batch is
    being computed while the caller has the last one.

    Args:
        predict: `(params, batch) -> {name: [b, ...]}`, `valid` among them, such as
            `make_predict` gives.
        params: on the devices.
        data: the clips, or slices of `clip_seconds`.
        mesh: devices.
        sample_rate: that the model hears, Hz.
        batch_size: clips a forward pass; rounded up to what the devices can share.
        clip_seconds: length of what the model is given.
        workers: loader processes; 0 loads in threads.
    """
    batch_size, keep_bytes = sharding.round_up_batch(batch_size, mesh), 0
    if isinstance(data, Slices):
        n_ahead = BATCHES_AHEAD * batch_size // jax.process_count()
        keep_bytes = data.keep_bytes(sample_rate, n_ahead) * max(1, workers)
    batches = pipelines.evaluation_batches(
        data,
        batch_size=batch_size,
        clip_seconds=clip_seconds,
        n_frames=int(offset_frames(clip_seconds)),
        sample_rate=sample_rate,
        targets=None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        workers=workers,
        cache_decoded_bytes=keep_bytes,
    )
    with contextlib.closing(batches):
        running = None
        for batch in batches:
            wanted = {name: batch[name] for name in batch.keys() - {"n_samples"}}
            started = predict(params, sharding.put_batch(wanted, mesh))
            if running is not None:
                yield _fetch(running)
            running = started
        yield _fetch(running)


def _fetch(running: dict[str, jax.Array]) -> dict[str, np.ndarray]:
    """Without the clips that fill up the last batch."""
    out = jax.device_get(running)
    return {name: array[out["valid"]] for name, array in out.items()}
