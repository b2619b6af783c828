"""Rows of equal size in numbered files, written in any order, each with a checksum.

    logits-00003.f16    shard 3: rows one after another
    logits-00003.json   what they are of, and the CRC-32 of every row

Shard s holds the rows from `s * shard_rows` on. It is finished once both of its files are
there, which appear whole or not at all; the store is finished once all shards are. So
processes that know nothing of each other can write shards of the same store.
"""

import collections
import json
import os
import shutil
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError

_OPEN_SHARDS = 128  # a process may have 1,024 files open on most systems


class RowShards:
    """Where the rows of a store are, and which of them are there.

    Attributes:
        folder: of the store.
        n_rows: of all shards.
        shard_rows: of a shard; the last one may have fewer.
        row_bytes: size of a row.
        origin: what rows are made of, JSON-able: a shard of anything else does not count.
        stem: what files are called.
        suffix: of the files with rows.
        remedy: what to do about a damaged one, for messages.
    """

    folder: Path
    n_rows: int
    shard_rows: int
    row_bytes: int
    origin: dict[str, Any]
    stem: str
    suffix: str
    remedy: str

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.n_rows // self.shard_rows)

    def rows(self, shard: int) -> range:
        """Returns the rows of a shard."""
        first = shard * self.shard_rows
        return range(first, min(first + self.shard_rows, self.n_rows))

    def file(self, shard: int) -> Path:
        """Where the rows of a finished shard are."""
        return self.folder / f"{self.stem}-{shard:05d}.{self.suffix}"

    def write_journal(self, shard: int, crc32: Sequence[int]) -> None:
        """Writes the journal of a shard: what is in it, and the CRC-32 of each row."""
        content = json.dumps({**self.origin, "crc32": list(crc32)})
        write_atomically(self._journal(shard), content)

    def crc32(self, shard: int) -> np.ndarray | None:
        """Returns the CRC-32 of each row, uint32 `[k]`; None for an unfinished shard.

        A shard whose file has not the right size is unfinished.
        """
        try:
            journal = json.loads(self._journal(shard).read_text(encoding="utf-8"))
            found = np.array(journal.pop("crc32"), np.uint32)
            size = self.file(shard).stat().st_size
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            OverflowError,
            AttributeError,
        ):
            return None
        n_rows = len(self.rows(shard))
        if (journal, found.shape) != (self.origin, (n_rows,)):
            return None
        return found if size == n_rows * self.row_bytes else None

    def unfinished(self) -> list[int]:
        """Returns the shards that are not finished, ascending."""
        return [s for s in range(self.n_shards) if self.crc32(s) is None]

    def _journal(self, shard: int) -> Path:
        return self.folder / f"{self.stem}-{shard:05d}.json"


class RowReader:
    """Random access to the rows of a finished store.

    Files are opened when first read, in each process on its own, so an object can be
    pickled into loader workers. Safe to use from several threads.

    Args:
        store: whose rows.

    Raises:
        InputError: not all of its shards are there; says how many, and the first.
    """

    def __init__(self, store: RowShards):
        self._store = store
        checksums = [store.crc32(shard) for shard in range(store.n_shards)]
        missing = [shard for shard, crc in enumerate(checksums) if crc is None]
        if missing:
            raise InputError(
                f"{store.folder} is not finished: {len(missing)} of {store.n_shards} "
                f"shards are missing or cut off, the first is "
                f"{store.file(missing[0]).name}; {store.remedy}"
            )
        self._crc32 = np.concatenate(checksums)
        self._begin()

    def _begin(self) -> None:
        self._files: collections.OrderedDict[int, BinaryIO] = collections.OrderedDict()
        self._lock = threading.Lock()

    def read(self, row: int) -> bytes:
        """Returns a row.

        Raises:
            InputError: the file is damaged there.
        """
        # Not mapped into memory: a disk that fails would kill the process (SIGBUS).
        shard, place = divmod(row, self._store.shard_rows)
        size = self._store.row_bytes
        try:
            file = self._opened(shard)  # stays open as long as somebody has it
            content = os.pread(file.fileno(), size, place * size)
        except OSError as error:
            raise self._damaged(shard, row, error.strerror) from error
        if zlib.crc32(content) != self._crc32[row]:
            raise self._damaged(shard, row, "its checksum is wrong")
        return content

    def _opened(self, shard: int) -> BinaryIO:
        with self._lock:
            file = self._files.get(shard)
            if file is None:
                file = open(self._store.file(shard), "rb", buffering=0)  # noqa: SIM115
                self._files[shard] = file
                if len(self._files) > _OPEN_SHARDS:
                    self._files.popitem(last=False)
            self._files.move_to_end(shard)
        return file

    def _damaged(self, shard: int, row: int, reason: str) -> InputError:
        return InputError(
            f"{self._store.file(shard)} is damaged at row {row} ({reason}): remove it "
            f"and {self._store.remedy}"
        )

    def __getstate__(self):
        return {**self.__dict__, "_files": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin()


def check_room(folder: Path, n_bytes: int) -> None:
    """Refuses to begin what the disk cannot hold.

    Args:
        folder: on the disk; exists.
        n_bytes: to be written.

    Raises:
        InputError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise InputError(
            f"{folder} needs {n_bytes / 1e9:.1f} GB more, its disk has "
            f"{free / 1e9:.1f} GB free: make room, or use another disk"
        )
