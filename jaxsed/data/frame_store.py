"""What a frozen encoder makes of the slices of a data set, computed once and kept.

    frames.json          what the frames are of: the encoder with the sha256 of its
                         parameters, the data, the slices' length; arrays and their type
    frames-00003.rows    shard 3: a row a slice, its arrays one after another, C order,
                         little-endian
    frames-00003.json    the CRC-32 of every row
    in_progress/         locks of shards that are being written

The folder is named after encoder and data and the hash of `frames.json`, so that runs that
share a folder of such stores find their own there, and nobody else's.
"""

import dataclasses
import functools
import hashlib
import json
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.data.row_shards import RowReader, RowShards
from jaxsed.errors import InputError

FORMAT = 1
DESCRIPTION, IN_PROGRESS = "frames.json", "in_progress"
# 25 MB a shard at 250 x 768: what a kill may cost in computing.
SHARD_SLICES = 64
# Half the bytes of float32, and finer than the bfloat16 that encoders may compute in.
DTYPE = np.dtype("<f2")


@dataclasses.dataclass(frozen=True)
class FrameStore(RowShards):
    """What a store holds, and where.

    Attributes:
        parent: folder of stores.
        encoder: what the frames are of, JSON-able: how the encoder is built, its
            front-end, what it computes in, and the sha256 of its parameters.
        data_name: what the data are called.
        data_hash: identifies slices and their audio (`Slices.manifest_hash`).
        clip_seconds: length of a slice.
        n_rows: slices.
        arrays: name and shape of what is kept of each.
        shard_rows: slices a shard.
    """

    parent: Path
    encoder: Mapping[str, Any]
    data_name: str
    data_hash: str
    clip_seconds: float
    n_rows: int
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    shard_rows: int = SHARD_SLICES

    stem, suffix = "frames", "rows"
    remedy = "run the same command again, which computes this shard alone"

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """What `frames.json` says."""
        content = {
            "format": FORMAT,
            "encoder": dict(self.encoder),
            "data": {
                "manifest_hash": self.data_hash,
                "clip_seconds": self.clip_seconds,
                "slices": self.n_rows,
            },
            "arrays": self.arrays,
            "dtype": DTYPE.str,
            "shard_slices": self.shard_rows,
        }
        return json.loads(json.dumps(content))

    @functools.cached_property
    def hash(self) -> str:
        """Identifies all of the description."""
        text = json.dumps(self.description, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @functools.cached_property
    def folder(self) -> Path:
        """Of this store."""
        name = f"{self.encoder['encoder']}-{self.data_name}"
        plain = re.sub(r"[^\w.-]+", "_", name)[:80]
        return self.parent / f"{plain}-{self.hash[:12]}"

    @functools.cached_property
    def row_bytes(self) -> int:
        """Size of what is kept of a slice."""
        return DTYPE.itemsize * sum(int(np.prod(shape)) for _, shape in self.arrays)

    @property
    def origin(self) -> dict[str, Any]:
        """What a shard's journal says that its rows are of."""
        return {"frames": self.hash}

    def create(self) -> None:
        """Makes the folder, or makes sure that it is this store's.

        Raises:
            InputError: it holds something else, or cannot be written.
        """
        file = self.folder / DESCRIPTION
        if file.exists():
            self._check_same(file)
            return
        try:
            (self.folder / IN_PROGRESS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be made ({error.strerror}): give another folder "
                "in config.frames"
            ) from error
        write_atomically(file, json.dumps(self.description, indent=1))

    def _check_same(self, file: Path) -> None:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} is damaged ({type(error).__name__}): remove its folder, and the "
                "frames are computed anew"
            ) from error
        if found != self.description:
            wanted = self.description
            changed = [key for key in wanted if found.get(key) != wanted[key]]
            raise InputError(
                f"{self.folder} holds frames of another {', '.join(changed)}: give "
                "another folder in config.frames, or remove this one"
            )

    def bytes_left(self) -> int:
        """Returns how much the unfinished shards will still take on the disk."""
        return sum(len(self.rows(s)) for s in self.unfinished()) * self.row_bytes

    def tidy(self) -> None:
        """Removes what only unfinished shards need; call it once there are none."""
        shutil.rmtree(self.folder / IN_PROGRESS, ignore_errors=True)
        for file in self.folder.glob("*.tmp"):  # of processes that were killed
            file.unlink(missing_ok=True)

    def write(self, shard: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a shard; whole, or not at all.

        Args:
            shard: its number.
            arrays: name -> float16 `[k, ...]` of all of its slices, finite.

        Raises:
            InputError: the disk is full.
        """
        n_rows = len(self.rows(shard))
        columns = []
        for name, shape in self.arrays:
            array = arrays[name]
            if (array.shape, array.dtype) != ((n_rows, *shape), DTYPE):
                raise ValueError(
                    f"{name} is {array.dtype} {array.shape}; expected {DTYPE} "
                    f"{(n_rows, *shape)}"
                )
            columns.append(array.reshape(n_rows, -1))
        rows = np.concatenate(columns, axis=1)
        self.write_journal(shard, [zlib.crc32(row) for row in rows])
        write_atomically(self.file(shard), rows.tobytes())


class StoredFrames:
    """Random access to the rows of a finished store; as `RowReader`.

    Args:
        store: which.

    Raises:
        InputError: it is not finished.
    """

    def __init__(self, store: FrameStore):
        self.store = store
        self._rows = RowReader(store)

    def __len__(self) -> int:
        return self.store.n_rows

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        """Returns the arrays of a slice, float16 and read-only, by name.

        Raises:
            InputError: the file is damaged there.
        """
        values = np.frombuffer(self._rows.read(row), DTYPE)
        found, first = {}, 0
        for name, shape in self.store.arrays:
            size = int(np.prod(shape))
            found[name] = values[first : first + size].reshape(shape)
            first += size
        return found
