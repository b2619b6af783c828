"""Somebody's own tables of clips, read: file, labels and split of every line."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.clip_columns import (
    NO_SEPARATOR,
    TableOptions,
    find_columns,
    labels_in,
    separator_of,
)
from jaxsed.data.layouts.matching import path_in_table
from jaxsed.data.layouts.source import MULTI, SINGLE
from jaxsed.data.layouts.splits import at_random, split_called, split_of_file
from jaxsed.data.layouts.tables import delimiter_of, read_header, read_table
from jaxsed.errors import InputError

_FOLDERS = ("", "meta", "metadata", "annotations")
_ENDINGS = (".csv", ".tsv")
_EVAL_SHARE = 0.1
_VALUES_IN_ERRORS = 8


class Row(NamedTuple):
    """A line of a table.

    Attributes:
      path: The clip, as `path_in_table` has it.
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

    @property
    def split(self) -> str | None:
        """The split that the file's name says."""
        return split_of_file(self.path.name)

    @property
    def says_splits(self) -> bool:
        """Whether it is known of every line which split it belongs to."""
        return self.has_splits or self.split is not None


def tables_of(source: Path, options: TableOptions) -> list[Path]:
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
            if path.suffix.lower() in _ENDINGS and path.is_file()
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
        self._options = options
        self.rejected: list[Rejected] = []
        read = [self._read(path) for path in tables]
        separator = options.label_separator
        if separator is None and any(table.has_lists for table in read):
            separator = separator_of(
                cell for table in read for _, cell, _ in table.cells
            )
        elif separator == NO_SEPARATOR:
            separator = None
        self.labels = options.labels or (MULTI if separator else SINGLE)
        self.rows: list[Row] = []
        for table, splits in zip(read, self._splits(read)):
            for (path, cell, _), line, split in zip(table.cells, table.lines, splits):
                if split is not None:
                    labels = tuple(labels_in(cell, separator))
                    self.rows.append(Row(path, labels, split, line))

    def _read(self, path: Path) -> _Table:
        delimiter = delimiter_of(path)
        columns = find_columns(path, read_header(path, delimiter), self._options)
        wanted = [name for name in columns if name is not None]
        cells, lines = [], []
        for line, values in read_table(path, delimiter, wanted):
            file, labels, split = (*(values or ("", "")), "")[:3]
            clip = path_in_table(file)
            if clip:
                cells.append((clip, labels, split))
                lines.append(line)
            else:
                what = "too few values" if values is None else "no file"
                self.rejected.append(Rejected("unreadable_line", path, line, what))
        if not cells:
            raise InputError(f"{path}: no line under {', '.join(wanted)} has a file")
        return _Table(path, cells, lines, columns.split is not None, columns.has_lists)

    def _splits(self, tables: Sequence[_Table]) -> Iterator[list[str | None]]:
        """Yields the split of each line of each table; None for one that is rejected."""
        options = self._options
        unsaid = [table for table in tables if not table.says_splits]
        if options.eval_folds and not any(table.has_splits for table in tables):
            raise InputError(
                f"{tables[0].path} has no column of folds; name it with --split-column"
            )
        if options.eval_share is not None and not unsaid:
            raise InputError(
                f"--eval-share {options.eval_share:g}: {tables[0].path} says itself what "
                "the splits are"
            )
        chosen: set[str] = set()
        if unsaid:
            clips = (clip for table in unsaid for clip, _, _ in table.cells)
            chosen = at_random(clips, options.eval_share or _EVAL_SHARE, options.seed)
        for table in tables:
            if table.has_splits:
                yield self._splits_in(table)
            elif table.split is not None:
                yield [table.split] * len(table.cells)
            else:
                clips = (clip for clip, _, _ in table.cells)
                yield ["eval" if clip in chosen else "train" for clip in clips]

    def _splits_in(self, table: _Table) -> list[str | None]:
        folds = self._options.eval_folds
        values = [cell for _, _, cell in table.cells]
        listed = sorted(set(values))
        if folds:
            unknown = [fold for fold in folds if fold not in listed]
            if unknown:
                raise InputError(
                    f"{table.path}: no fold {unknown[0]!r}; found {_some(listed)}"
                )
            return ["eval" if value in folds else "train" for value in values]
        meant = {value: split_called(value) for value in listed}
        if not any(meant.values()):
            raise InputError(
                f"{table.path}: splits {_some(listed)} are neither train, validation nor "
                f"test; of folds, say which are for evaluation: --eval-folds {listed[-1]}"
            )
        for value, line in zip(values, table.lines):
            if meant[value] is None:
                what = f"{value!r} is neither train, validation nor test"
                self.rejected.append(Rejected("unknown_split", table.path, line, what))
        return [meant[value] for value in values]


def _some(values: Sequence[str]) -> str:
    listed = ", ".join(map(repr, values[:_VALUES_IN_ERRORS]))
    return f"{listed}, ..." if len(values) > _VALUES_IN_ERRORS else listed
