"""Sounds in the rows of a parquet file, as Hugging Face data sets hold them.

What is in memory is a page, compressed and not: in files of the Hub that is a row group,
100 sounds.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxsed.data.layouts.audio_source import PackFile, ReadPlace
from jaxsed.errors import InputError

# Rows decoded together; a sound is about 1 MB as FLAC.
_ROWS_AT_ONCE = 4
# With a buffer, a column is read page by page instead of a row group at once.
_BUFFER_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class ParquetAudio(PackFile):
    """The container of sounds that is a column; a place is a row.

    Attributes:
      column: Of bytes, or of structures that have `bytes`.
    """

    column: str

    @contextlib.contextmanager
    def open(self) -> Iterator[ReadPlace]:
        """Opens the file; rows asked for in order are read in one go.

        Raises:
          InputError: It cannot be read, or pyarrow is missing.
        """
        with open_parquet(self.path) as file:
            yield _Rows(file, self.column).read


class _Rows:
    """Reads one column row by row, a few rows in memory."""

    def __init__(self, file, column: str):
        has_bytes = file.schema_arrow.field(column).type.num_fields > 0
        self._file, self._leaf = file, f"{column}.bytes" if has_bytes else column
        groups = range(file.metadata.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
        self._group_starts = np.cumsum([0, *sizes])
        self._batches: Iterator = iter(())
        self._first, self._values, self._group = 0, (), -1

    def read(self, row: int) -> bytes:
        import pyarrow

        try:
            self._seek(row)
        except (pyarrow.ArrowException, OSError, StopIteration) as error:
            self._group = -1  # what is open cannot be gone on with
            reason = " ".join(str(error).split())
            raise OSError(f"cannot be read ({reason or 'too few rows'})") from error
        value = self._values[row - self._first].as_py()
        if isinstance(value, dict):
            value = value["bytes"]
        if value is None:
            raise OSError("the row has no bytes")
        return value

    def _seek(self, row: int) -> None:
        group = int(np.searchsorted(self._group_starts, row, "right")) - 1
        if group != self._group or row < self._first:
            self._batches = self._file.iter_batches(
                _ROWS_AT_ONCE,
                row_groups=[group],
                columns=[self._leaf],
                use_threads=False,
            )
            self._group = group
            self._first, self._values = int(self._group_starts[group]), ()
        while row >= self._first + len(self._values):
            self._first += len(self._values)
            self._values = next(self._batches).column(0)


@contextlib.contextmanager
def open_parquet(path: Path) -> Iterator:
    """Opens a parquet file for reading.

    Raises:
      InputError: It cannot be read, is cut off, or pyarrow is missing.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"reading {path} needs pyarrow: pip install 'jaxsed[parquet]'"
        ) from error
    try:
        file = parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"{path} is not a whole parquet file ({' '.join(str(error).split())}); "
            "fetch it again, or remove it"
        ) from error
    with file:
        try:
            yield file
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(
                f"{path} is damaged ({' '.join(str(error).split())}); fetch it again, or "
                "remove it"
            ) from error
