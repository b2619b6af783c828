"""Prefetching and checkpointing of random-access batches, with grain."""

import json
from collections.abc import Sequence
from typing import Any

import grain
from absl import flags

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
    """

    def __init__(
        self, batches: Sequence, workers: int, threads: int, prefetch_batches: int
    ):
        super().__init__()
        self._batches = batches
        self._workers = workers
        self._read_options = grain.ReadOptions(
            num_threads=min(threads, prefetch_batches),
            prefetch_buffer_size=prefetch_batches,
        )
        # As it comes back from a checkpoint: tuples are lists, keys are text.
        self._identity = json.loads(json.dumps(batches.identity()))
        self._next_batch = 0
        self._ahead: grain.DatasetIterator | None = None

    def __len__(self) -> int:
        """Returns the number of batches, sys.maxsize if endless."""
        return len(self._batches)

    def __next__(self) -> dict:
        self._assert_not_closed()
        if self._next_batch >= len(self._batches):
            self._drop_ahead()
            raise StopIteration
        if self._ahead is None:
            self._ahead = self._compute_ahead(self._next_batch)
        try:
            batch = next(self._ahead)
        except InputError as error:
            # grain appends lines on tracebacks to the message meant for the user.
            raise InputError(str(error).partition("\n")[0]) from error
        self._next_batch += 1
        return batch

    def _compute_ahead(self, first: int) -> grain.DatasetIterator:
        batches = grain.MapDataset.source(self._batches)
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
                )
            )
        return iter(ahead)

    def start_prefetch(self) -> None:
        """Starts computing ahead, before the first batch is asked for."""
        if self._ahead is None and self._next_batch < len(self._batches):
            self._ahead = self._compute_ahead(self._next_batch)
            self._ahead.start_prefetch()

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
        self._drop_ahead()
        self._next_batch = int(state["next_batch"])

    def rewind(self) -> None:
        """Goes back to the first batch; decoded clips stay in memory."""
        self._drop_ahead()
        self._next_batch = 0

    def close(self) -> None:
        """Ends the threads or processes that compute ahead."""
        self._drop_ahead()
        self._closed = True

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
