"""Prefetching and checkpointing of random-access batches, with grain."""

import atexit
import functools
import gc
import json
import multiprocessing
import os
import re
import signal
import threading
import time
import weakref
from collections.abc import Sequence
from multiprocessing import connection
from typing import Any

import grain
import numpy as np
from absl import flags
from grain.multiprocessing import SharedMemoryArray

from jaxsed.data.speed import LoaderSpeed
from jaxsed.errors import InputError

_SMALL_BYTES = 4096


class BatchIterator(grain.DatasetIterator):
    """Iterates over random-access batches; can be saved and restored at any batch.

    The state is `{"next_batch": k, "of": identity}`, a small JSON-able dict. Unlike the
    states of grain's own iterators it does not depend on how many workers or threads
    compute ahead, so a run may go on with other ones. It can be saved with
    `grain.checkpoint.CheckpointSave`.

    Args:
        batches: random-access, picklable if there are workers; `batches.identity()`
            says what `next_batch` counts in.
        workers: processes that compute batches ahead; 0 for threads of this process.
        threads: threads that compute batches ahead, in each process. 0 computes each
            batch when it is asked for.
        prefetch_batches: how many batches each process computes ahead.

    Attributes:
        speed: how fast batches come, a `LoaderSpeed`.
    """

    def __init__(
        self, batches: Sequence, workers: int, threads: int, prefetch_batches: int
    ):
        super().__init__()
        self._ahead: list[grain.DatasetIterator] = []  # one, or none
        # Workers of an iterator that is dropped unclosed, by an exception say, would
        # wait, and the program's end for them.
        weakref.finalize(self, _end, self._ahead)
        self._batches = batches
        self._workers = workers
        self.speed = LoaderSpeed(workers, min(threads, prefetch_batches))
        self._read_options = grain.ReadOptions(
            num_threads=min(threads, prefetch_batches),
            prefetch_buffer_size=prefetch_batches,
        )
        # As it comes back from a checkpoint: tuples are lists, keys are text.
        self._identity = json.loads(json.dumps(batches.identity()))
        self._next_batch = 0

    def __len__(self) -> int:
        """Returns the number of batches, sys.maxsize if endless."""
        return len(self._batches)

    def __next__(self) -> dict:
        self._assert_not_closed()
        if self._next_batch >= len(self._batches):
            _end(self._ahead)
            raise StopIteration
        begin = time.perf_counter()
        try:
            timed = next(self._computed_ahead())
        except StopIteration:
            raise
        except Exception as error:
            _end(self._ahead)
            mended = _in_one_line(error)
            if mended is None:
                raise
            raise mended from error
        waited = time.perf_counter() - begin
        batch = timed["batch"]
        self.speed.add(len(batch["index"]), timed["core_seconds"], waited)
        self._next_batch += 1
        # Each shared array has an open file. Who keeps the rows of many batches shall
        # not run out of them.
        return {
            name: np.array(array) if array.nbytes < _SMALL_BYTES else array
            for name, array in batch.items()
        }

    def _computed_ahead(self) -> grain.DatasetIterator:
        if not self._ahead:
            self._ahead.append(self._compute_ahead(self._next_batch))
        return self._ahead[0]

    def _compute_ahead(self, first: int) -> grain.DatasetIterator:
        batches = grain.MapDataset.source(_Timed(self._batches))
        if first:
            batches = batches.slice(slice(first, None))
        ahead = batches.to_iter_dataset(self._read_options)
        if self._workers:
            if not flags.FLAGS.is_parsed():
                # grain's workers read absl flags, which nobody parses in a notebook.
                flags.FLAGS.mark_as_parsed()
            ahead = ahead.mp_prefetch(
                grain.MultiprocessingOptions(
                    num_workers=self._workers, per_worker_buffer_size=1
                ),
                worker_init_fn=_begin_worker,
            )
            _settle_at_exit()
        return iter(ahead)

    def start_prefetch(self) -> None:
        """Starts computing ahead, before the first batch is asked for."""
        if self._next_batch < len(self._batches):
            self._computed_ahead().start_prefetch()

    def get_state(self) -> dict[str, Any]:
        """Returns where the iterator is; JSON-able."""
        return {"next_batch": self._next_batch, "of": self._identity}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to where `get_state` was called, on this or an equal iterator.

        Raises:
            InputError: the state is of other data, another seed or batch size, ...
        """
        saved = state["of"]
        for name in sorted(saved.keys() | self._identity.keys()):
            if saved.get(name) != self._identity.get(name):
                raise InputError(
                    f"the saved position in the data was reached with {name}="
                    f"{saved.get(name)!r}, this run has {self._identity.get(name)!r}: "
                    "go on with the same value, or start anew"
                )
        _end(self._ahead)
        self._next_batch = int(state["next_batch"])

    def rewind(self) -> None:
        """Goes back to the first batch; decoded clips stay in memory."""
        _end(self._ahead)
        self._next_batch = 0

    def close(self) -> None:
        """Ends the threads or processes that compute ahead."""
        _end(self._ahead)
        self._closed = True


def _end(ahead: list[grain.DatasetIterator]) -> None:
    while ahead:
        ahead.pop().close()


def _settle() -> None:
    """Waits until grain has given back the memory of batches that nobody holds.

    It does so in a thread, which the end of the program would cut short; Python's
    tracker of shared memory then gives it back, with a warning for every user to read.
    """
    gc.collect()  # batches hang in cycles of exceptions and of grain's statistics
    thread_pool = getattr(SharedMemoryArray, "_del_thread_pool", None)
    if thread_pool is not None:
        # It has one thread: with this done, all that was asked before is.
        thread_pool.apply_async(int).wait(timeout=5)


@functools.cache
def _settle_at_exit() -> None:
    atexit.register(_settle)


class _Timed:
    """Batches together with the time that a core took for each.

    It is None for the first batch of a process, which pays for imports.
    """

    def __init__(self, batches: Sequence):
        self._batches = batches
        self._since: float | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, k: int) -> dict:
        begin = time.thread_time()
        batch = self._batches[k]
        own = time.thread_time() - begin
        with _clock_lock:
            # A loader process hands batches over as well, and does nothing else.
            now = time.process_time()
            since, self._since = self._since, now
        spent = now - since if _is_worker and since is not None else own
        return {"batch": batch, "core_seconds": None if since is None else spent}


_clock_lock = threading.Lock()
_is_worker = False


def _begin_worker(index: int, count: int) -> None:
    """Makes a loader process end when, and only when, the one it works for says so."""
    del index, count
    global _is_worker
    _is_worker = True
    # Ctrl-C and a scheduler's SIGTERM reach every process; the parent may still need
    # batches to end in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def leave_with_parent():
        connection.wait([parent.sentinel])
        os._exit(1)  # a killed parent cannot end its children

    threading.Thread(target=leave_with_parent, daemon=True).start()


def _in_one_line(error: Exception) -> InputError | None:
    """Returns what to tell the user of an error of computing ahead; None of a bug."""
    if isinstance(error, InputError):
        # grain appends lines on tracebacks to the message meant for the user.
        return InputError(str(error).partition("\n")[0])
    if isinstance(error, MemoryError):
        return InputError(f"memory ran out while loading clips; {_SAVE_MEMORY}")
    died = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))
    if died is None:
        return None
    code = int(died[1])
    how = f"ended with status {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    why = _LIKELY_REASONS.get(-code, "its own words are above, if it left any")
    return InputError(f"a loader process (data.workers) {how}: {why}")


_SAVE_MEMORY = "lower data.workers, batch_size or data.cache_decoded_bytes"
_LIKELY_REASONS = {
    signal.SIGKILL: f"most likely memory ran out; {_SAVE_MEMORY}",
    # Batches come through shared memory, and containers have 64 MB of it by default.
    signal.SIGBUS: "most likely shared memory ran out; make /dev/shm larger (docker run "
    "--shm-size) or lower data.workers or batch_size",
}
