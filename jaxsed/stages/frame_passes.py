"""The pass of a frozen encoder over a data set: decode, encode, write; once.

Any number of processes may work on one store: joined ones (`--multihost`), runs of a grid
that start at the same time, jobs on other hosts that see the disk. Each takes some shards
that nobody else has, its own share first; who finds none left waits until the others have
written theirs, and takes over from whoever dies. A shard is computed in batches of its own
slices, so that its bits do not depend on who computes it, nor on stops.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxsed import locks
from jaxsed.data import pipelines
from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.frame_store import DTYPE, IN_PROGRESS, FrameStore, StoredFrames
from jaxsed.data.row_shards import check_room
from jaxsed.data.slices import Slices
from jaxsed.errors import InputError
from jaxsed.labels.events import offset_frames
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.predictions import BATCHES_AHEAD, INT16_SCALE
from jaxsed.training import processes, sharding

# Taken at once by a process, so that loader processes start once for all of them.
_TAKEN_SHARDS = 64
POLL_SECONDS = 1.0

Params = Mapping[str, Any]


def make_encode(model: SoundEventModel, abstract: Params, mesh: Mesh) -> Callable:
    """Returns the compiled `(encoder's parameters, audio int16 [b, n]) -> frames`.

    It gives what the heads hear, name -> float16 `[b, ...]`, and bool `[b]`, whether all
    of a slice is finite in that type.

    Args:
        model: all of it.
        abstract: shapes of all its parameters.
        mesh: devices.
    """
    shares = sharding.batch_sharding(mesh)
    heads = {name: tree for name, tree in abstract.items() if name != "encoder"}

    def encode(encoder: Params, audio: jax.Array):
        mel = model.frontend(audio.astype(jnp.float32) * INT16_SCALE)
        # Nothing that the heads compute is used, and nothing of them is compiled.
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), heads)
        _, out = model.apply({"params": {**zeros, "encoder": encoder}}, mel)
        frames = {name: out[name].astype(DTYPE) for name in model.heard}
        finite = [
            jnp.isfinite(array).all(axis=tuple(range(1, array.ndim)))
            for array in frames.values()
        ]
        return frames, jnp.stack(finite).all(axis=0)

    placed = (sharding.replicated(mesh), shares)
    return jax.jit(encode, in_shardings=placed, out_shardings=shares)


class FramePass:
    """Computes what is missing of a store on this process's devices.

    Args:
        encode: from `make_encode`.
        encoder: the encoder's parameters.
        mesh: of this process's devices.
        sample_rate: that the encoder hears, Hz.
        batch_size: slices a forward pass; rounded up to what the devices can share.
        workers: loader processes; 0 loads in threads.
    """

    def __init__(
        self,
        encode: Callable,
        encoder: Params,
        *,
        mesh: Mesh,
        sample_rate: int,
        batch_size: int,
        workers: int = 0,
    ):
        self._encode, self._encoder, self._mesh = encode, encoder, mesh
        self._sample_rate, self._workers = sample_rate, workers
        self._batch_size = batch_size

    def run(self, store: FrameStore, slices: Slices, title: str) -> StoredFrames:
        """Returns the frames of all slices, once they are there.

        Args:
            store: goes on where stopped processes were.
            slices: that the store is of.
            title: of the progress bar.

        Raises:
            InputError: frames are not finite, a clip cannot be decoded, the disk is full,
                or the folder is another store's.
        """
        if processes.on_first(lambda: _make(store)):
            self._fill(store, slices, title)
            processes.on_first(store.tidy)
        return StoredFrames(store)

    def _fill(self, store: FrameStore, slices: Slices, title: str) -> None:
        bar = tqdm(
            desc=title,
            total=store.n_rows,
            unit="slice",
            dynamic_ncols=True,
            disable=not processes.is_first(),
        )
        place = sharding.replicated(self._mesh)
        with bar:
            held = jax.device_put(self._encoder, place)
            while left := store.unfinished():
                _show(bar, store, left)
                with _taken(store, _own_first(left)) as shards:
                    if shards:
                        self._compute(store, slices, shards, held, bar.update)
                    else:
                        time.sleep(POLL_SECONDS)
            _show(bar, store, [])

    def _compute(
        self,
        store: FrameStore,
        slices: Slices,
        shards: Sequence[int],
        held: Params,
        on_slices: Callable[[int], object],
    ) -> None:
        """Computes shards, the next batch while the last one is written."""
        size = min(self._batch_size, store.shard_rows, store.n_rows)
        size = sharding.round_up_batch(size, self._mesh)
        batches = [
            store.rows(shard)[start : start + size]
            for shard in shards
            for start in range(0, len(store.rows(shard)), size)
        ]
        filled = [row for own in batches for row in _filled_up(own, size)]
        ahead = slices.keep_bytes(self._sample_rate, BATCHES_AHEAD * size)
        keep_bytes = ahead * max(1, self._workers)
        loaded = pipelines.evaluation_batches(
            ClipSelection(slices, filled),
            batch_size=size,
            clip_seconds=slices.clip_seconds,
            sample_rate=self._sample_rate,
            n_frames=int(offset_frames(slices.clip_seconds)),
            targets=None,
            workers=self._workers,
            cache_decoded_bytes=keep_bytes,
        )
        writer = _Writer(store, slices, on_slices)
        shares = sharding.batch_sharding(self._mesh)
        with contextlib.closing(loaded):
            running = None
            for rows, batch in zip(batches, loaded, strict=True):
                audio = jax.device_put(batch["audio"], shares)
                started = rows, self._encode(held, audio)
                if running is not None:
                    writer.keep(*running)
                running = started
            writer.keep(*running)


class _Writer:
    """Collects the frames of shards, whose slices come in order."""

    def __init__(
        self, store: FrameStore, slices: Slices, on_slices: Callable[[int], object]
    ):
        self._store, self._slices, self._on_slices = store, slices, on_slices
        self._parts: list[dict[str, np.ndarray]] = []

    def keep(self, rows: range, computed: tuple) -> None:
        """Waits for a batch; writes its shard if that is complete.

        Raises:
            InputError: a slice has frames that are not finite; names it.
        """
        frames, finite = jax.device_get(computed)
        broken = np.flatnonzero(~finite[: len(rows)])
        if broken.size:
            raise InputError(
                f"the encoder gives NaN, or more than float16 holds, for "
                f"{self._slices.ids[rows[int(broken[0])]]!r}: its weights are broken"
            )
        self._parts.append({name: a[: len(rows)] for name, a in frames.items()})
        shard = rows[0] // self._store.shard_rows
        if rows[-1] == self._store.rows(shard)[-1]:
            whole = {
                name: np.concatenate([part[name] for part in self._parts])
                for name in self._parts[0]
            }
            self._store.write(shard, whole)
            self._parts = []
        self._on_slices(len(rows))


def _make(store: FrameStore) -> bool:
    """Makes a store, if it is not there; returns whether anything is missing of it."""
    store.create()
    bytes_left = store.bytes_left()
    check_room(store.folder, bytes_left)
    return bytes_left > 0


def _own_first(shards: Sequence[int]) -> list[int]:
    """Shards in the order in which this process tries to take them."""
    index, count = jax.process_index(), jax.process_count()
    return sorted(shards, key=lambda shard: ((shard - index) % count, shard))


@contextlib.contextmanager
def _taken(store: FrameStore, shards: Sequence[int]) -> Iterator[list[int]]:
    """Takes some unfinished shards that no other process has; perhaps none."""
    folder = store.folder / IN_PROGRESS
    with contextlib.ExitStack() as stack:
        taken = []
        for shard in shards:
            lock = _take(folder / f"{shard:05d}.lock", f"shard {shard} of {folder}")
            if lock is None:
                continue
            stack.enter_context(lock)
            # Whoever had it may have finished it since.
            if store.crc32(shard) is None:
                taken.append(shard)
            if len(taken) == _TAKEN_SHARDS:
                break
        yield taken


def _take(path: Path, what: str) -> IO[str] | None:
    path.parent.mkdir(exist_ok=True)
    try:
        return locks.take(path, what)
    except InputError as error:
        # Somebody has it, or has finished the store and tidied up.
        if isinstance(error.__cause__, BlockingIOError | FileNotFoundError):
            return None
        raise


def _filled_up(rows: range, size: int) -> list[int]:
    """Rows of a batch, with its first one in place of those that it lacks."""
    return [*rows, *[rows[0]] * (size - len(rows))]


def _show(bar: tqdm, store: FrameStore, unfinished: Sequence[int]) -> None:
    """Others work, too: what counts is what is there."""
    bar.n = store.n_rows - sum(len(store.rows(shard)) for shard in unfinished)
    bar.refresh()
