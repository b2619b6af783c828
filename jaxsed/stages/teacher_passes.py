"""The teachers' passes over the clips of some shards: decode, add up, write.

What is done in which order, and why: see `jaxsed.stages.ensemble`.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxsed.data import pipelines
from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.slices import Slices
from jaxsed.data.teacher_shard import TeacherShard
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.stages.predictions import BATCHES_AHEAD
from jaxsed.stages.teachers import HeldTeachers, Teacher
from jaxsed.training import sharding

SUMMED_SHARDS = 8  # whose float32 sums lie on disk, where teachers are not held at once
_OPEN_SHARDS = 32  # otherwise; each takes two file descriptors


class Batch(NamedTuple):
    """Clips that teachers are to hear together.

    Attributes:
        shard: where the sum of their logits goes.
        teachers: those to add.
        start: first clip, counted in the shard.
        stop: clip after the last one.
    """

    shard: TeacherShard
    teachers: Sequence[Teacher]
    start: int
    stop: int


class Sum(NamedTuple):
    """What is being computed for a batch; on the devices.

    Attributes:
        batch: the clips.
        total: float32 `[b, t, c]`, or float16, the mean, if these are the last teachers;
            rows after the batch's own fill it up.
        finite: teacher's name -> bool `[b]`, whether its logits are.
    """

    batch: Batch
    total: jax.Array
    finite: dict[str, jax.Array]


class TeacherPasses:
    """Computes shards of the mean logits on this process's devices.

    Args:
        teachers: in the order of summation.
        mesh: of this process's devices.
        batch_size: clips a forward pass; rounded up to what the devices can share.
        workers: loader processes; 0 loads in threads.
        at_once: teachers held on the devices at once; 0 for all.
        targets: `frames` or `clip`, see `HeldTeachers`.

    Raises:
        InputError: `at_once` or `batch_size` is out of range.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        *,
        mesh: Mesh,
        batch_size: int,
        workers: int = 0,
        at_once: int = 0,
        targets: str = "frames",
    ):
        if at_once < 0 or batch_size < 1:
            raise InputError(
                f"teachers_at_once={at_once}, batch_size={batch_size}: expected 0 (all) "
                "or more teachers, and at least one clip"
            )
        self._teachers = teachers
        self._held = HeldTeachers(mesh, targets)
        self._batch_size = sharding.round_up_batch(batch_size, mesh)
        self._workers = workers
        step = at_once or len(teachers)
        firsts = range(0, len(teachers), step)
        self._groups = [range(k, min(k + step, len(teachers))) for k in firsts]

    @property
    def n_sums(self) -> int:
        """How many float32 sums of a shard are on disk at most."""
        # One more while it is written: the sum it is made of goes when it is complete.
        return SUMMED_SHARDS + 1 if len(self._groups) > 1 else 0

    def run(
        self,
        writer: TeacherLogitsWriter,
        shards: Sequence[int],
        slices: Slices,
        on_clips: Callable[[int], object] = lambda n: None,
    ) -> None:
        """Computes some shards; goes on where a stopped process was.

        Args:
            writer: of the store.
            shards: numbers of unfinished shards.
            slices: that the store's rows are of.
            on_clips: told how many clips times teachers were done.

        Raises:
            InputError: a teacher's logits are not finite, a clip cannot be decoded, the
                disk is full, or another process writes one of the shards.
        """
        size = SUMMED_SHARDS if len(self._groups) > 1 else _OPEN_SHARDS
        for first in range(0, len(shards), size):
            with contextlib.ExitStack() as stack:
                block = [
                    stack.enter_context(writer.open_shard(number))
                    for number in shards[first : first + size]
                ]
                for group in self._groups:
                    batches = list(self._plan(block, group, on_clips))
                    if batches:
                        self._held.hold([self._teachers[k] for k in group])
                        self._pass(batches, slices, on_clips)

    def _plan(
        self,
        block: Sequence[TeacherShard],
        group: range,
        on_clips: Callable[[int], object],
    ) -> Iterator[Batch]:
        """Begins a group's pass over shards; yields what is left to compute."""
        for shard in block:
            if shard.finished or shard.n_summed >= group.stop:
                on_clips(len(shard) * len(group))
                continue
            added = self._teachers[shard.n_summed : group.stop]
            done = shard.begin(group.stop, self._batch_size)
            on_clips(len(shard) * (len(group) - len(added)) + done * len(added))
            if done == len(shard):
                shard.end()
            for start in range(done, len(shard), self._batch_size):
                stop = min(start + self._batch_size, len(shard))
                yield Batch(shard, added, start, stop)

    def _pass(
        self,
        batches: Sequence[Batch],
        slices: Slices,
        on_clips: Callable[[int], object],
    ) -> None:
        """Computes batches, the next one while the last one is written."""
        rates = sorted({t.sample_rate for batch in batches for t in batch.teachers})
        with contextlib.ExitStack() as stack:
            streams = [
                stack.enter_context(
                    contextlib.closing(self._load(batches, slices, rate))
                )
                for rate in rates
            ]
            running = None
            for batch, *loaded in zip(batches, *streams, strict=True):
                sounds = {
                    rate: self._held.put(part["audio"])
                    for rate, part in zip(rates, loaded)
                }
                started = self._start(batch, sounds)
                if running is not None:
                    self._finish(running, slices, on_clips)
                running = started
            self._finish(running, slices, on_clips)

    def _load(self, batches: Sequence[Batch], slices: Slices, sample_rate: int):
        """Returns the audio of the batches, each filled up with its first clip."""
        rows = []
        for batch in batches:
            own = batch.shard.rows[batch.start : batch.stop]
            rows += [*own, *[own[0]] * (self._batch_size - len(own))]
        n_rates = len({t.sample_rate for batch in batches for t in batch.teachers})
        workers = -(-self._workers // n_rates)
        keep_bytes = slices.keep_bytes(sample_rate, BATCHES_AHEAD * self._batch_size)
        return pipelines.evaluation_batches(
            ClipSelection(slices, rows),
            batch_size=self._batch_size,
            clip_seconds=slices.clip_seconds,
            sample_rate=sample_rate,
            n_frames=slices.rows.slice_frames,
            targets=None,
            workers=workers,
            cache_decoded_bytes=keep_bytes * max(1, workers),
        )

    def _start(self, batch: Batch, sounds: dict[int, jax.Array]) -> Sum:
        shape = (self._batch_size, *batch.shard.clip_shape)
        before = batch.shard.before(batch.start, batch.stop)
        if before is None:
            total = self._held.zeros(shape)
        else:
            filled_up = np.zeros(shape, np.float32)
            filled_up[: len(before)] = before
            total = self._held.put(filled_up)
        finite = {}
        for teacher in batch.teachers:
            sound = sounds[teacher.sample_rate]
            total, finite[teacher.name] = self._held.add(teacher, sound, total)
        if batch.shard.is_last:
            total = self._held.mean(total, len(self._teachers))
        return Sum(batch, total, finite)

    def _finish(
        self, computed: Sum, slices: Slices, on_clips: Callable[[int], object]
    ) -> None:
        """Waits for a sum and writes it.

        Raises:
            InputError: logits are not finite; names the teacher and the clip.
        """
        shard, added, start, stop = computed.batch
        for name, finite in jax.device_get(computed.finite).items():
            broken = np.flatnonzero(~finite[: stop - start])
            if broken.size:
                clip = slices.ids[shard.rows[start + int(broken[0])]]
                raise InputError(
                    f"teacher {name!r} gives NaN or infinite logits for clip {clip!r}: "
                    "its weights are broken"
                )
        shard.write(jax.device_get(computed.total)[: stop - start])
        if stop == len(shard):
            shard.end()
        on_clips((stop - start) * len(added))
