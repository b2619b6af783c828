"""Prefetching and checkpointing of random-access batches, with grain."""

import json
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

import grain
from absl import flags

from jaxsed.data import loader_process
from jaxsed.data.speed import LoaderSpeed
from jaxsed.errors import InputError


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
        weakref.finalize(self, self._end, self._ahead)
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
            self._end(self._ahead)
            raise StopIteration
        begin = time.perf_counter()
        try:
            timed = next(self._computed_ahead())
        except StopIteration:
            raise
        except Exception as error:
            self._end(self._ahead)
            mended = loader_process.in_one_line(error)
            if mended is None:
                raise
            raise mended from error
        waited = time.perf_counter() - begin
        batch = timed["batch"]
        self.speed.add(len(batch["index"]), timed["core_seconds"], waited)
        self._next_batch += 1
        return {name: loader_process.adopted(array) for name, array in batch.items()}

    def _computed_ahead(self) -> grain.DatasetIterator:
        if not self._ahead:
            self._ahead.append(self._compute_ahead(self._next_batch))
        return self._ahead[0]

    def _compute_ahead(self, first: int) -> grain.DatasetIterator:
        batches = grain.MapDataset.source(
            _Timed(self._batches, self._read_options.num_threads)
        )
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
                worker_init_fn=loader_process.begin,
            )
            loader_process.settle_at_exit()
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
        for name in sorted(saved):  # older ones know less of what they refer to
            if saved[name] != self._identity.get(name):
                raise InputError(
                    f"the saved position in the data was reached with {name}="
                    f"{saved[name]!r}, this run has {self._identity.get(name)!r}: "
                    "go on with the same value, or start anew"
                )
        self._end(self._ahead)
        self._next_batch = int(state["next_batch"])

    def rewind(self) -> None:
        """Goes back to the first batch; decoded clips stay in memory."""
        self._end(self._ahead)
        self._next_batch = 0

    def close(self) -> None:
        """Ends the threads or processes that compute ahead."""
        self._end(self._ahead)
        self._closed = True

    @staticmethod
    def _end(ahead: list[grain.DatasetIterator]) -> None:
        # No global name: it may be called when the program's are gone already.
        while ahead:
            ahead.pop().close()


class _Timed:
    """Batches together with the time that a core took for each.

    It is None for the first batch of each thread of a process: those pay for imports, and
    how the time of a process falls to them is not known.
    """

    def __init__(self, batches: Sequence, threads: int):
        self._batches = batches
        self._untimed = max(1, threads)
        self._since = 0.0

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, k: int) -> dict:
        begin = time.thread_time()
        batch = self._batches[k]
        own = time.thread_time() - begin
        with _clock_lock:
            # A loader process hands batches over as well, and does nothing else.
            now = time.process_time()
            spent = now - self._since if loader_process.has_begun() else own
            self._since, first = now, self._untimed > 0
            self._untimed -= first
        return {"batch": batch, "core_seconds": None if first else spent}


_clock_lock = threading.Lock()
