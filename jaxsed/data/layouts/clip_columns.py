"""Which columns of somebody's own table say file, labels and split, and how."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.table_splits import SplitOptions
from jaxsed.errors import InputError, nearest
from jaxsed.labels.clip_names import composed
from jaxsed.labels.column_names import (
    FILE_COLUMNS,
    LABEL_COLUMNS,
    column_key,
    find_column,
)

# Whose cells hold several labels.
LIST_COLUMNS = ("labels", "categories", "classes", "tags", "targets", "mids")
SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")
SEPARATORS = (";", "|", ",")
NO_SEPARATOR = "none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions(SplitOptions):
    """What somebody says of their own tables of clips.

    Attributes:
      label_separator: What stands between the labels of a cell; `none`: a cell is one.
      labels: `single` or `multi`.
    """

    label_separator: str | None = None
    labels: str | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.label_separator == "":
            raise InputError(
                f"--label-separator is empty; expected e.g. ';' or {NO_SEPARATOR!r}"
            )


class Columns(NamedTuple):
    """The columns of a table that are read, as its header spells them.

    Attributes:
      file: Column of the files.
      label: Column of the labels.
      split: Column of the splits or folds; None if there is none.
    """

    file: str
    label: str
    split: str | None

    @property
    def has_lists(self) -> bool:
        """Whether a cell of the column of labels holds several, going by its name."""
        return column_key(self.label) in LIST_COLUMNS


def find_columns(table: Path, header: Sequence[str], options: TableOptions) -> Columns:
    """Chooses among the columns of a table.

    Raises:
      InputError: A column is not there; names the nearest one, and how to choose.
    """
    file = choose_column(table, header, "file", options.file_column, FILE_COLUMNS)
    label = choose_column(table, header, "label", options.label_column, LABEL_COLUMNS)
    return Columns(file, label, find_split_column(table, header, options))


def find_split_column(
    table: Path, header: Sequence[str], options: SplitOptions
) -> str | None:
    """Returns the column of splits or folds, None if there is none.

    Raises:
      InputError: The one that was asked for is not there.
    """
    asked = options.split_column
    if asked or find_column(header, SPLIT_COLUMNS) is not None:
        return choose_column(table, header, "split", asked, SPLIT_COLUMNS)
    return None


def choose_column(
    table: Path,
    header: Sequence[str],
    what: str,
    asked: str | None,
    known: Sequence[str],
) -> str:
    """Chooses a column of a table by its name, whatever its case and punctuation.

    Args:
      table: The file, for errors.
      header: What the columns are called.
      what: What the column is of, as in `--file-column`.
      asked: The name that was asked for, if one was.
      known: Else what such columns are called; the first that is there counts.

    Raises:
      InputError: It is not there; names the nearest one, and how to choose.
    """
    if not header:
        raise InputError(f"{table} is empty; expected a line that names the columns")
    found = find_column(header, [column_key(asked)] if asked else known)
    if found is not None:
        return found
    guess = nearest(asked or what, header)
    hint = f"did you mean {guess!r}? " if guess else ""
    looked_for = repr(asked) if asked else f"of {what}s ({', '.join(known)})"
    raise InputError(
        f"{table}: no column {looked_for}; {hint}found {', '.join(header)}; choose one "
        f"with --{what}-column"
    )


def separator_of(cells: Iterable[str]) -> str:
    """Returns what stands between the labels of the cells: `;`, else `|`, else a comma."""
    held = {each for cell in cells for each in SEPARATORS if each in cell}
    return next((each for each in SEPARATORS if each in held), ",")


def labels_in(cell: str, separator: str | None) -> list[str]:
    """Returns the labels of a cell; None as the separator: it is one.

    Lists as Python and JSON write them, `['Dog', 'Bark']`, are read as well.
    """
    if separator is None:
        return [composed(cell)] if cell else []
    if cell[:1] == "[" and cell[-1:] == "]":
        cell = cell[1:-1].replace("'", "").replace('"', "")
    pieces = (piece.strip() for piece in cell.split(separator))
    return [composed(piece) for piece in pieces if piece]
