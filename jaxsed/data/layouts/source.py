"""What every layout turns a folder into: clips with a sound file and raw annotation."""

import csv
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.problems import Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

# Anything else beside the tables may be a sound file, whatever it is called: formats
# are told from the content.
_NOT_AUDIO = {".tsv", ".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".pdf", ".log"}
_NOT_AUDIO |= {".npz", ".npy", ".h5", ".hdf5", ".array_record", ".part", ".tmp", ".py"}
_NOT_AUDIO |= {".zip", ".tar", ".gz", ".tgz", ".xz", ".yaml", ".yml", ".png", ".jpg"}


class SourceClip(NamedTuple):
    """One clip of a data set.

    Attributes:
      id: Unique in the split.
      audio: Its sound file; None if there is none.
      events: Its annotation as read.
      listed_seconds: How long the data set says it is, seconds.
    """

    id: str
    audio: Path | None
    events: tuple[RawEvent, ...]
    listed_seconds: float


class SourceSplit(NamedTuple):
    """One split of a data set on disk.

    Attributes:
      layout: Name of the layout.
      split: Name of the split.
      root: The folder that was read.
      vocabulary: The classes.
      clips: Sorted by id.
      problems: What was wrong with the tables.
    """

    layout: str
    split: str
    root: Path
    vocabulary: Vocabulary
    clips: tuple[SourceClip, ...]
    problems: tuple[Problem, ...]

    @property
    def has_audio(self) -> bool:
        """Whether any clip has a sound file."""
        return any(clip.audio is not None for clip in self.clips)


def read_table(
    path: Path, delimiter: str, columns: Iterable[str]
) -> Iterator[tuple[int, list[str] | None]]:
    """Reads the named columns of a table with a header line.

    Takes a byte order mark, any line end, blank lines, further columns and any order.

    Yields:
      `(line number, values)`, values in the order of `columns`; None for a line that
      has too few.

    Raises:
      InputError: Not readable, not UTF-8, or without one of the columns.
    """
    rows = _rows(path, delimiter)
    _, header = next(rows, (0, []))
    header = [name.strip().lower() for name in header]
    places = []
    for column in columns:
        if column not in header:
            raise InputError(
                f"{path}: no column {column!r}; found {', '.join(header) or 'nothing'} "
                f"(expected {', '.join(columns)}, separated by {_SPELLED[delimiter]})"
            )
        places.append(header.index(column))
    for line, row in rows:
        if max(places) < len(row):
            yield line, [row[place].strip() for place in places]
        else:
            yield line, None


def read_pairs(path: Path) -> dict[str, str]:
    """Reads a table `key TAB value` without a header.

    Raises:
      InputError: Not readable, not UTF-8, or a line without a TAB.
    """
    pairs = {}
    for line, row in _rows(path, "\t"):
        if len(row) < 2:
            raise InputError(
                f"{path}, line {line}: expected two columns separated by a TAB"
            )
        pairs[row[0].strip()] = row[1].strip()
    return pairs


def find_audio(root: Path, exclude: Path | None = None) -> dict[str, list[Path]]:
    """Walks a folder once for what may be sound files.

    Args:
      root: Searched with its sub-folders; links to folders are followed.
      exclude: A folder to stay out of: that of the output.

    Returns:
      File name without its ending (Unicode NFC) -> files, sorted.
    """
    found: dict[str, list[Path]] = {}
    visited = {os.path.realpath(exclude)} if exclude else set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        for name in files:
            stem, ending = os.path.splitext(name)
            if ending.lower() in _NOT_AUDIO or name.startswith("."):
                continue
            # macOS stores names decomposed, tables hold them composed.
            stem = unicodedata.normalize("NFC", stem)
            found.setdefault(stem, []).append(Path(folder, name))
    for paths in found.values():
        paths.sort()
    return found


_SPELLED = {"\t": "TAB", ",": "comma"}


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8"
        ) from error
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        # Quotes have a meaning in comma-separated tables only.
        yield line, row.split("\t") if delimiter == "\t" else next(csv.reader([row]))
