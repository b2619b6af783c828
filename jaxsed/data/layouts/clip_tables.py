"""Somebody's own tables of clips, read: file, labels and split of every line."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.clip_columns import (
    NO_SEPARATOR,
    TableOptions,
    find_columns,
    labels_in,
    separator_of,
)
from jaxsed.data.layouts.source import MULTI, SINGLE
from jaxsed.data.layouts.splits import split_of_file
from jaxsed.data.layouts.table_splits import (
    SplitOptions,
    SplitTable,
    assign_splits,
    unknown,
)
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path
from jaxsed.labels.tables import delimiter_of, read_header, read_table

_FOLDERS = ("", "meta", "metadata", "annotations")
_ENDINGS = (".csv", ".tsv")


class Row(NamedTuple):
    """A line of a table.

    Attributes:
      path: The clip, as `clip_path` has it.
      labels: As written.
      split: Which split it belongs to.
      line: Of the table.
    """

    path: str
    labels: tuple[str, ...]
    split: str
    line: int


class Rejected(NamedTuple):
    """A line that cannot be used: the problem's kind, where it is, and why."""

    kind: str
    table: Path
    line: int
    what: str


class _Table(NamedTuple):
    """A table as it stands: path, labels and split of every line, unread.

    Attributes:
      path: The file.
      cells: `(clip's path, labels, split)`; the split is "" where there is no column.
      lines: Of the file.
      has_splits: Whether there is a column of splits or folds.
      has_lists: Whether a cell holds several labels, going by the column's name.
    """

    path: Path
    cells: list[tuple[str, str, str]]
    lines: list[int]
    has_splits: bool
    has_lists: bool

    def said(self) -> SplitTable:
        """Returns what it says of the splits."""
        values = [split for _, _, split in self.cells] if self.has_splits else None
        clips = [clip for clip, _, _ in self.cells]
        return SplitTable(self.path, clips, values, split_of_file(self.path.name))


def tables_of(source: Path, options: SplitOptions) -> list[Path]:
    """Returns the tables to read; none if there is none.

    Raises:
      InputError: One that was named is not there, or it is not clear which to read.
    """
    named = [source / name for name in options.tables]
    for table in named:
        if not table.is_file():
            raise InputError(f"{table} not found; --table is relative to {source}")
    if named:
        return named
    for folder in _FOLDERS:
        there = sorted(
            path
            for path in (source / folder).glob("*")
            if path.suffix.lower() in _ENDINGS
            and not path.name.startswith(".")
            and path.is_file()
        )
        called = [path for path in there if split_of_file(path.name)]
        if len(there) > 1 and not called:
            names = ", ".join(path.name for path in there)
            raise InputError(
                f"{source / folder} has several tables: {names}; choose with --table"
            )
        if there:
            return called or there
    return []


class ClipRows:
    """The lines of all tables, and what splits they are of.

    Attributes:
      rows: Those that can be used.
      rejected: The others.
      labels: `single` or `multi`.
    """

    def __init__(self, tables: Sequence[Path], options: TableOptions):
        """Reads the tables.

        Raises:
          InputError: One is unreadable, lacks a column or has no line, or it is not clear
            what the splits are.
        """
        self.rejected: list[Rejected] = []
        read = [self._read(path, options) for path in tables]
        separator = options.label_separator
        if separator is None and any(table.has_lists for table in read):
            separator = separator_of(
                cell for table in read for _, cell, _ in table.cells
            )
        elif separator == NO_SEPARATOR:
            separator = None
        self.labels = options.labels or (MULTI if separator else SINGLE)
        self.rows: list[Row] = []
        said = assign_splits([table.said() for table in read], options)
        for table, splits in zip(read, said):
            rows = zip(table.cells, table.lines, splits)
            for (path, cell, value), line, split in rows:
                if split is not None:
                    labels = tuple(labels_in(cell, separator))
                    self.rows.append(Row(path, labels, split, line))
                else:
                    rejected = Rejected(
                        "unknown_split", table.path, line, unknown(value)
                    )
                    self.rejected.append(rejected)

    def _read(self, path: Path, options: TableOptions) -> _Table:
        delimiter = delimiter_of(path)
        columns = find_columns(path, read_header(path, delimiter), options)
        wanted = [name for name in columns if name is not None]
        cells, lines = [], []
        for line, values in read_table(path, delimiter, wanted):
            file, labels, split = (*(values or ("", "")), "")[:3]
            clip = clip_path(file)
            if clip:
                cells.append((clip, labels, split))
                lines.append(line)
            else:
                what = "too few values" if values is None else "no file"
                self.rejected.append(Rejected("unreadable_line", path, line, what))
        if not cells:
            raise InputError(f"{path}: no line under {', '.join(wanted)} has a file")
        return _Table(path, cells, lines, columns.split is not None, columns.has_lists)
