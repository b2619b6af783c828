"""One shard of a store of teacher logits while it is written.

Teachers are added in passes: each reads the sum of the teachers before it, in float32,
and writes the sum with its own. The last one writes the mean, in float16. No file is
written that is read, so rows may be written again after a kill and the result is the same
to the bit, wherever it was killed and however the teachers were spread over passes.

In the store's folder `in_progress`, for shard 3 after 5 of 15 teachers:

    00003.json     journal: teachers in the sum, teachers being added, rows that are safe
    00003_05.sum   float32 [k, t, c], the first 5 teachers
    00003_10.sum   the same and the 5 of the pass that is going on
    00003_15.f16   float16, the mean with the last ones: the shard to be
    00003.lock     held by the process that writes
"""

import json
import logging
import os
import time
import zlib
from pathlib import Path

import numpy as np

from jaxsed import locks
from jaxsed.atomic import write_atomically
from jaxsed.data.teacher_store import (
    IN_PROGRESS,
    MEAN_DTYPE,
    SUM_DTYPE,
    TeacherStore,
)
from jaxsed.errors import InputError

# What a kill may cost in computed logits, whichever is reached first.
_FLUSH_BYTES, _FLUSH_SECONDS = 1 << 28, 30.0
logger = logging.getLogger(__name__)


class TeacherShard:
    """Writes one shard, pass by pass; goes on where a killed process was.

    For each pass: `begin`, then for the rows in order `before` and `write`, then `end`.

    Args:
        store: the shard's.
        number: of the shard.

    Attributes:
        rows: of the shard, a range.
        clip_shape: label frames, classes.
        finished: whether the mean is in its place; then there is nothing left to do.
        is_last: whether the pass that was begun adds the last teachers.

    Raises:
        InputError: another process is writing it, or the disk cannot be written.
    """

    def __init__(self, store: TeacherStore, number: int):
        self._store, self._number = store, number
        self.rows, self.clip_shape = store.rows(number), store.clip_shape
        self._folder = store.folder / IN_PROGRESS
        self._out = self._before = None
        self._unflushed_bytes = 0
        try:
            self._folder.mkdir(exist_ok=True)
            self._lock_file = locks.take(
                self._folder / f"{number:05d}.lock", f"shard {number} of {store.folder}"
            )
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        self.finished = store.crc32(number) is not None
        self._journal_file = self._folder / f"{number:05d}.json"
        self._journal = self._read_journal()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_summed(self) -> int:
        """How many teachers, in the store's order, are in the sum so far."""
        return len(self._journal["summed"])

    def begin(self, n_teachers: int, batch_clips: int = 1) -> int:
        """Begins the pass after which the sum holds the first `n_teachers`.

        Args:
            n_teachers: more than `n_summed`.
            batch_clips: clips are computed in batches of so many, from the first row
                on, and an interrupted pass goes on with a whole batch: the same clips
                beside a clip, the same bits in its logits.

        Returns:
            Number of rows that this very pass has written already.

        Raises:
            InputError: the disk cannot be written.
        """
        names, journal = self._store.names, self._journal
        adding = names[self.n_summed : n_teachers]
        if not adding:
            raise ValueError(f"{self.n_summed} teachers are in the sum already")
        self.is_last = n_teachers == len(names)
        self._dtype = MEAN_DTYPE if self.is_last else SUM_DTYPE
        before, out = self._sum_file(self.n_summed), self._sum_file(n_teachers)
        self._remove_all_but(before, out)
        n_rows = 0
        if journal["adding"] == adding and out.exists():
            n_whole = out.stat().st_size // self._store.clip_bytes(self._dtype)
            n_rows = min(journal["rows"], n_whole) // batch_clips * batch_clips
            if min(journal["rows"], n_whole) == len(self):
                n_rows = len(self)
        journal |= {
            "adding": adding,
            "rows": n_rows,
            "crc32": journal["crc32"][:n_rows],
        }
        self._write_journal()
        try:
            out.touch()
            self._out = open(out, "r+b", buffering=0)  # noqa: SIM115
            self._out.seek(n_rows * self._store.clip_bytes(self._dtype))
            if self.n_summed:
                self._before = open(before, "rb")  # noqa: SIM115
        except OSError as error:
            raise _unwritable(out, error) from error
        self._flushed_at = time.monotonic()
        return n_rows

    def before(self, start: int, stop: int) -> np.ndarray | None:
        """Returns the sum that this pass adds to, or None if nothing is in it yet.

        Args:
            start: first row, counted in the shard.
            stop: row after the last one.

        Returns:
            float32 `[stop - start, t, c]`.

        Raises:
            InputError: the file of the sum was cut off meanwhile.
        """
        if self._before is None:
            return None
        sums = np.empty((stop - start, *self.clip_shape), SUM_DTYPE)
        self._before.seek(start * self._store.clip_bytes(SUM_DTYPE))
        if self._before.readinto(sums.data.cast("B")) != sums.nbytes:
            raise InputError(
                f"{self._before.name} ends before clip {stop}: it was changed while it "
                "was read; the same command begins this shard anew"
            )
        return sums

    def write(self, logits: np.ndarray) -> None:
        """Writes the next rows.

        Args:
            logits: `[k, t, c]`, finite. In the last pass float16, the mean of all
                teachers; otherwise float32, `before` plus this pass's teachers.

        Raises:
            InputError: the disk is full; what was written before is safe.
        """
        journal = self._journal
        expected = self.clip_shape, self._dtype
        n_rows = journal["rows"] + len(logits)
        if (logits.shape[1:], logits.dtype) != expected or n_rows > len(self):
            raise ValueError(
                f"{logits.dtype} {logits.shape} after {journal['rows']} of {len(self)} "
                f"rows; expected clips of {self._dtype} {self.clip_shape}"
            )
        rows = np.ascontiguousarray(logits)
        content = memoryview(rows).cast("B")
        try:
            while content:  # a raw file takes at most 2 GiB at once
                content = content[self._out.write(content) :]
        except OSError as error:
            raise _unwritable(Path(self._out.name), error) from error
        journal["rows"] = n_rows
        if self.is_last:
            journal["crc32"] += [zlib.crc32(row) for row in rows]
        self._unflushed_bytes += rows.nbytes
        seconds = time.monotonic() - self._flushed_at
        if self._unflushed_bytes >= _FLUSH_BYTES or seconds >= _FLUSH_SECONDS:
            self._flush()

    def end(self) -> None:
        """Ends the pass; after the last one the shard is in its place.

        Raises:
            InputError: the disk cannot be written.
        """
        journal = self._journal
        if journal["rows"] != len(self):
            raise ValueError(f"{journal['rows']} of {len(self)} rows are written")
        self._flush()
        self._close_files()
        n_teachers = self.n_summed + len(journal["adding"])
        if self.is_last:
            # A shard counts from the moment both its files are there.
            self._store.write_journal(self._number, journal["crc32"])
            file = self._store.file(self._number)
            try:
                os.replace(self._sum_file(n_teachers), file)
            except OSError as error:
                raise _unwritable(file, error) from error
            self.finished = True
            self._journal_file.unlink(missing_ok=True)
            self._remove_all_but()
        else:
            summed = self._store.names[:n_teachers]
            self._journal = _journal(summed)
            self._write_journal()
            self._remove_all_but(self._sum_file(n_teachers))

    def close(self) -> None:
        """Keeps what is written, and lets other processes write the shard."""
        try:
            self._flush()
        finally:
            self._close_files()
            self._lock_file.close()

    def __enter__(self) -> "TeacherShard":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _flush(self) -> None:
        """Puts what is written on disk, and only then says so."""
        if not self._unflushed_bytes:
            return
        try:
            os.fsync(self._out.fileno())
        except OSError as error:
            raise _unwritable(Path(self._out.name), error) from error
        self._write_journal()
        self._unflushed_bytes, self._flushed_at = 0, time.monotonic()

    def _close_files(self) -> None:
        for file in (self._out, self._before):
            if file is not None:
                file.close()
        self._out = self._before = None

    def _sum_file(self, n_teachers: int) -> Path:
        suffix = "f16" if n_teachers == len(self._store.names) else "sum"
        return self._folder / f"{self._number:05d}_{n_teachers:02d}.{suffix}"

    def _remove_all_but(self, *kept: Path) -> None:
        for file in self._folder.glob(f"{self._number:05d}_*"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def _write_journal(self) -> None:
        write_atomically(self._journal_file, json.dumps(self._journal))

    def _read_journal(self) -> dict:
        """Returns what is safely on disk; nothing where files do not fit each other."""
        nothing = _journal([])
        if not self._journal_file.exists():
            return nothing
        try:
            found = json.loads(self._journal_file.read_text(encoding="utf-8"))
            journal = {key: type(nothing[key])(found[key]) for key in nothing}
            summed, adding = journal["summed"], journal["adding"]
            if [*summed, *adding] != self._store.names[: len(summed) + len(adding)]:
                raise ValueError("other teachers")
            expected = self._store.shard_bytes(self._number, SUM_DTYPE)
            if summed and self._sum_file(len(summed)).stat().st_size != expected:
                raise ValueError("the sum was cut off")
            if len(journal["crc32"]) not in (0, journal["rows"]):
                raise ValueError("checksums are missing")
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning(
                "%s is damaged (%s): shard %d is begun anew",
                self._journal_file,
                error,
                self._number,
            )
            return nothing
        return journal


def _journal(summed: list[str]) -> dict:
    return {"summed": summed, "adding": [], "rows": 0, "crc32": []}


def _unwritable(file: Path, error: OSError) -> InputError:
    return InputError(
        f"{file} cannot be written ({error.strerror}): make room, or mend the disk; the "
        "same command goes on from what was written so far"
    )
