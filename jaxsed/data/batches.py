"""Random-access batches: batch k is a pure function of (seed, k).

So it does not matter who computes a batch, in how many threads or processes, or what
was computed before it. What is in a batch: see `jaxsed.data.pipelines`.
"""

import dataclasses
import sys
from collections.abc import Iterable

import numpy as np

from jaxsed.data import wavmix
from jaxsed.data.examples import Examples, mix
from jaxsed.data.sampling import (
    CROP_STREAM,
    PARTNER_CROP_STREAM,
    WAVMIX_STREAM,
    ExampleOrder,
    generator,
)
from jaxsed.errors import InputError

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
        wavmix_alpha: see `wavmix.draw_weight`.
        wavmix_major: see there.
        n_batches: length; endless if None.
    """

    def __init__(
        self,
        examples: Examples,
        order: ExampleOrder,
        share: ProcessShare,
        wavmix_probability: float = 0.0,
        wavmix_alpha: float = wavmix.ALPHA,
        wavmix_major: bool = True,
        n_batches: int | None = None,
    ):
        if not (0 <= wavmix_probability <= 1 and wavmix_alpha > 0):
            raise InputError(
                f"wavmix_probability={wavmix_probability}, wavmix_alpha={wavmix_alpha}: "
                "expected 0 to 1, and a number above 0"
            )
        self.examples = examples
        self.order = order
        self.share = share
        self.wavmix_probability = wavmix_probability
        self._mixing = {"alpha": wavmix_alpha, "major": wavmix_major}
        self._length = n_batches if n_batches is not None else sys.maxsize

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, k: int) -> Batch:
        """Returns this process's part of batch `k` (see `jaxsed.data.pipelines`)."""
        positions = self.share.positions(int(k))
        rows = self.order.rows(positions)
        cuts = (self._example(*at) for at in zip(positions.tolist(), rows.tolist()))
        batch = _collate(cuts, len(rows))
        return {**batch, "index": rows.astype(np.int32)}

    def _example(self, position: int, row: int) -> dict:
        seed = self.order.seed
        example = self.examples.cut(row, generator(seed, position, CROP_STREAM))
        if not self.wavmix_probability:
            return example
        rng = generator(seed, position, WAVMIX_STREAM)
        if rng.random() >= self.wavmix_probability:
            names = example.keys() & {"labels", "clip_labels"}
            return example | {name: wavmix.unmixed(example[name]) for name in names}
        partner_row = int(rng.integers(self.order.n_clips))
        place = generator(seed, position, PARTNER_CROP_STREAM)
        partner = self.examples.cut(partner_row, place)
        return mix(example, partner, wavmix.draw_weight(rng, **self._mixing))

    def identity(self) -> dict:
        """Returns what a saved position refers to; a JSON-able dict."""
        shape = self.examples.shape
        encoder = getattr(self.examples.data, "encoder_hash", None)
        teacher = getattr(self.examples.teacher, "hash", None)
        return {
            **({"encoder": encoder[:12]} if encoder else {}),
            **({"teacher": teacher[:12]} if teacher else {}),
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
        """Returns this process's part of batch `k` (see `jaxsed.data.pipelines`)."""
        rows = self.start + self.share.positions(int(k))
        valid = rows < self.n_clips
        rows = np.where(valid, rows, 0)
        cuts = (self.examples.cut(row) for row in rows.tolist())
        batch = _collate(cuts, len(rows))
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


def _collate(examples: Iterable[dict], n: int) -> Batch:
    batch: Batch = {}
    for i, example in enumerate(examples):
        for name, value in example.items():
            if name not in batch:
                batch[name] = np.empty((n, *value.shape), value.dtype)
            batch[name][i] = value
    return batch
