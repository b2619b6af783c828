"""Batches on the wire: what training and evaluation read.

A batch is a dict of numpy arrays, one process's part of it:

    audio          int16   [b, n]
    index          int32   [b]        row in the data
    n_samples      int32   [b]        before zero padding
    labels         uint8   [b, t, c]  targets="frames"
    clip_labels    uint8   [b, c]     targets="clip"
    teacher        float16 [b, t, c]  with a teacher: probabilities
    teacher_valid  bool    [b]        with a teacher: False where the store lacks the clip
    valid          bool    [b]        evaluation: False for what fills up the last batch

With wavmix, `labels` and `clip_labels` are float16: mixed labels are fractions.

`TrainingBatches` and `EvaluationBatches` are random-access: batch k is a pure function
of (seed, k), so it does not matter who computes it, in how many threads or processes,
or what was computed before. `training_batches` and `evaluation_batches` put grain's
prefetching and checkpointing around them.
"""

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np

from jaxsed.data import wavmix
from jaxsed.data.examples import Examples, ExampleShape, mix
from jaxsed.data.sampling import (
    CROP_STREAM,
    PARTNER_CROP_STREAM,
    WAVMIX_STREAM,
    ExampleOrder,
    generator,
    importance_weights,
)
from jaxsed.errors import InputError

if TYPE_CHECKING:
    from jaxsed.data.records import PreparedData
    from jaxsed.data.stream import BatchIterator
    from jaxsed.data.teacher_logits import TeacherLogits

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ProcessShare:
    """Which part of every global batch a process computes: a contiguous one.

    Process p of P takes examples `p * B/P` to `(p + 1) * B/P - 1` of the B examples,
    so the processes' parts in order are the global batch whatever P is.
    """

    batch_size: int
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self):
        if not 0 <= self.process_index < self.process_count:
            raise InputError(
                f"process_index={self.process_index}: expected 0 to process_count - 1 "
                f"= {self.process_count - 1}"
            )
        if self.batch_size < 1 or self.batch_size % self.process_count:
            raise InputError(
                f"batch_size={self.batch_size} (all processes together): expected a "
                f"positive multiple of the {self.process_count} processes"
            )

    def positions(self, batch: int) -> np.ndarray:
        """Returns the global positions (int64 `[b]`) of this process's examples."""
        part = self.batch_size // self.process_count
        first = batch * self.batch_size + self.process_index * part
        return np.arange(first, first + part)


class TrainingBatches:
    """Random-access training batches: `batches[k]` is batch k of the run.

    Args:
        examples: cuts examples out of clips.
        order: of the examples; its seed also draws crops and mixes.
        share: this process's part.
        wavmix_probability: how often a clip is mixed with another one.
        n_batches: length; endless if None.
    """

    def __init__(
        self,
        examples: Examples,
        order: ExampleOrder,
        share: ProcessShare,
        wavmix_probability: float = 0.0,
        n_batches: int | None = None,
    ):
        if not 0 <= wavmix_probability <= 1:
            raise InputError(
                f"wavmix_probability={wavmix_probability}: expected 0 to 1"
            )
        self.examples = examples
        self.order = order
        self.share = share
        self.wavmix_probability = wavmix_probability
        self._length = n_batches if n_batches is not None else sys.maxsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> Batch:
        """Returns this process's part of batch `k` (see the module's docstring)."""
        positions = self.share.positions(int(k))
        rows = self.order.rows(positions)
        target_dtype = np.float16 if self.wavmix_probability else np.uint8
        cuts = (self._example(*at) for at in zip(positions.tolist(), rows.tolist()))
        batch = _collate(cuts, len(rows), target_dtype)
        return {**batch, "index": rows.astype(np.int32)}

    def _example(self, position: int, row: int) -> dict:
        seed = self.order.seed
        example = self.examples.cut(row, generator(seed, position, CROP_STREAM))
        if not self.wavmix_probability:
            return example
        rng = generator(seed, position, WAVMIX_STREAM)
        if rng.random() >= self.wavmix_probability:
            return example
        partner_row = int(rng.integers(self.order.n_clips))
        place = generator(seed, position, PARTNER_CROP_STREAM)
        partner = self.examples.cut(partner_row, place)
        return mix(example, partner, wavmix.draw_weight(rng))

    def identity(self) -> dict:
        """Returns what a saved position refers to; a JSON-able dict."""
        shape = self.examples.shape
        return {
            "data": self.examples.data.manifest_hash,
            "sampling": self.order.sampling,
            "seed": self.order.seed,
            "batch_size": self.share.batch_size,
            "clip_seconds": shape.clip_seconds,
            "sample_rate": shape.sample_rate,
            "wavmix_probability": self.wavmix_probability,
        }


class EvaluationBatches:
    """Random-access evaluation batches: every clip from row `start` on, in order.

    Args:
        examples: cuts examples out of clips.
        share: this process's part.
        start: first row.
    """

    def __init__(self, examples: Examples, share: ProcessShare, start: int = 0):
        self.examples = examples
        self.share = share
        self.start = start
        self.n_clips = len(examples.data)
        if not self.n_clips:
            raise InputError("the data is empty: there is nothing to evaluate")
        if not 0 <= start <= self.n_clips:
            raise InputError(f"start={start}: expected a row from 0 to {self.n_clips}")

    def __len__(self) -> int:
        return -(-(self.n_clips - self.start) // self.share.batch_size)

    def __getitem__(self, k: int) -> Batch:
        """Returns this process's part of batch `k` (see the module's docstring)."""
        rows = self.start + self.share.positions(int(k))
        valid = rows < self.n_clips
        rows = np.where(valid, rows, 0)
        cuts = (self.examples.cut(row) for row in rows.tolist())
        batch = _collate(cuts, len(rows), np.uint8)
        return {**batch, "index": rows.astype(np.int32), "valid": valid}

    def identity(self) -> dict:
        """Returns what a saved position refers to; a JSON-able dict."""
        shape = self.examples.shape
        return {
            "data": self.examples.data.manifest_hash,
            "start": self.start,
            "batch_size": self.share.batch_size,
            "clip_seconds": shape.clip_seconds,
            "sample_rate": shape.sample_rate,
        }


def _collate(examples, n: int, target_dtype: np.dtype) -> Batch:
    batch: Batch = {}
    for i, example in enumerate(examples):
        for name, value in example.items():
            if name not in batch:
                is_target = name in ("labels", "clip_labels")
                dtype = target_dtype if is_target else value.dtype
                batch[name] = np.empty((n, *value.shape), dtype)
            batch[name][i] = value
    return batch


def training_batches(
    data: "PreparedData",
    *,
    seed: int,
    batch_size: int,
    sampling: str = "uniform",
    importance: str | None = None,
    epoch_clips: int | None = None,
    clip_seconds: float = 10.0,
    sample_rate: int = 16000,
    n_frames: int = 250,
    targets: str = "frames",
    wavmix_probability: float = 0.0,
    teacher: "TeacherLogits | None" = None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch_batches: int = 2,
    cache_decoded_bytes: int = 0,
    n_batches: int | None = None,
) -> "BatchIterator":
    """Returns the endless training batches of this process.

    Args:
        data: what to train on.
        seed: of the run.
        batch_size: of the global batch, all processes together.
        sampling: "uniform", "balanced" (the paper's: importance sampling with
            replacement) or "balanced_epoch" (the released code's: without replacement
            within an epoch); see `sampling.ExampleOrder`.
        importance: weights, "paper" or "released" (see `sampling.importance_weights`);
            by default "paper" for "balanced", "released" for "balanced_epoch".
        epoch_clips: see `sampling.ExampleOrder`.
        clip_seconds: length of an example. Longer clips are cut at a random label
            frame, labels and teacher targets with them; shorter ones are zero-padded.
        sample_rate: Hz.
        n_frames: label frames of 40 ms.
        targets: "frames" or "clip".
        wavmix_probability: of mixing a clip with another one in the loader.
        teacher: store of teacher logits.
        process_index: which part of each global batch this process computes.
        process_count: in how many parts a global batch is computed.
        workers: processes that compute batches; 0 computes them in this one.
        threads: that compute batches, in this process or in each worker.
        prefetch_batches: batches computed ahead, by this process or by each worker.
        cache_decoded_bytes: memory for decoded clips, all workers together. 320 kB hold
            10 s of 16 kHz; worth it where all clips fit.
        n_batches: stop after so many.

    Returns:
        An iterator with `get_state/set_state`; a `grain.DatasetIterator`. Its state is
        independent of workers, threads and process count.

    Raises:
        InputError: an argument is out of range, or (while iterating) a clip cannot be
            decoded.
    """
    _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes)
    share = ProcessShare(batch_size, process_index, process_count)
    shape = ExampleShape(clip_seconds, sample_rate, n_frames, targets)
    weights = None
    if sampling in ("balanced", "balanced_epoch"):
        mode = importance or ("paper" if sampling == "balanced" else "released")
        weights = importance_weights(data.active_seconds(), mode)
    order = ExampleOrder(sampling, seed, len(data), weights, epoch_clips)
    examples = Examples(data, shape, teacher, cache_decoded_bytes // max(1, workers))
    batches = TrainingBatches(examples, order, share, wavmix_probability, n_batches)
    return _iterate(batches, workers, threads, prefetch_batches)


def evaluation_batches(
    data: "PreparedData",
    *,
    batch_size: int,
    start: int = 0,
    clip_seconds: float = 10.0,
    sample_rate: int = 16000,
    n_frames: int = 250,
    targets: str | None = "frames",
    teacher: "TeacherLogits | None" = None,
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch_batches: int = 2,
    cache_decoded_bytes: int = 0,
) -> "BatchIterator":
    """Returns every clip from row `start` on once, in order.

    The last batch is filled up with clip 0, where `valid` is False. Clips longer than
    `clip_seconds` are read from their start.

    Args:
        data: what to evaluate on.
        batch_size: of the global batch, all processes together.
        start: row of the first clip; to go on where an earlier pass was stopped.
        clip_seconds: length of an example.
        sample_rate: Hz.
        n_frames: label frames of 40 ms.
        targets: "frames", "clip", or None for no labels.
        teacher: store of teacher logits.
        process_index: as in `training_batches`.
        process_count: as in `training_batches`.
        workers: as in `training_batches`.
        threads: as in `training_batches`.
        prefetch_batches: as in `training_batches`.
        cache_decoded_bytes: as in `training_batches`; only of use if one object is
            iterated several times (`iterator.rewind()`).

    Returns:
        As `training_batches`, but finite: `len(iterator)` batches.

    Raises:
        InputError: as `training_batches`.
    """
    _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes)
    share = ProcessShare(batch_size, process_index, process_count)
    shape = ExampleShape(clip_seconds, sample_rate, n_frames, targets)
    examples = Examples(data, shape, teacher, cache_decoded_bytes // max(1, workers))
    batches = EvaluationBatches(examples, share, start)
    return _iterate(batches, workers, threads, prefetch_batches)


def _check_effort(workers, threads, prefetch_batches, cache_decoded_bytes) -> None:
    if min(workers, threads, prefetch_batches, cache_decoded_bytes) < 0:
        raise InputError(
            f"workers={workers}, threads={threads}, prefetch_batches="
            f"{prefetch_batches}, cache_decoded_bytes={cache_decoded_bytes}: expected "
            "0 or more each"
        )


def _iterate(batches, workers: int, threads: int, prefetch: int) -> "BatchIterator":
    # grain imports jax where it is installed (not its devices); what is above does not.
    from jaxsed.data.stream import BatchIterator

    return BatchIterator(batches, workers, threads, prefetch)
