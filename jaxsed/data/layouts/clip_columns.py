"""Which columns of somebody's own table say file, labels and split, and how."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.matching import composed
from jaxsed.errors import InputError, nearest

# What columns are called in tables that are about; the first that is there counts.
FILE_COLUMNS = (
    "filename",
    "file_name",
    "file",
    "fname",
    "filepath",
    "file_path",
    "path",
)
FILE_COLUMNS += ("audio", "audio_path", "audio_file", "audio_filename", "wav")
FILE_COLUMNS += ("slice_file_name", "clip", "clip_id", "id")
LIST_COLUMNS = ("labels", "categories", "classes", "tags", "targets", "mids")
LABEL_COLUMNS = ("labels", "label", "category", "categories", "class", "class_name")
LABEL_COLUMNS += ("classes", "tags", "tag", "mids", "target", "targets")
SPLIT_COLUMNS = ("split", "subset", "set", "partition", "fold")
SEPARATORS = (";", "|", ",")
NO_SEPARATOR = "none"


@dataclasses.dataclass(frozen=True)
class TableOptions:
    """What somebody says of their own tables; None where the defaults will do.

    Attributes:
      tables: Names relative to the data set; by default those that lie there.
      file_column: Column of the files.
      label_column: Column of the labels.
      split_column: Column of the splits or folds.
      label_separator: What stands between the labels of a cell; `none`: a cell is one.
      labels: `single` or `multi`.
      eval_folds: Values of the column of folds that are for evaluation.
      eval_share: How many of the clips are for evaluation, where nothing says which.
      seed: Of the choice of these.
    """

    tables: tuple[str, ...] = ()
    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    label_separator: str | None = None
    labels: str | None = None
    eval_folds: tuple[str, ...] = ()
    eval_share: float | None = None
    seed: int = 0

    def __post_init__(self):
        if self.eval_share is not None and not 0 < self.eval_share < 1:
            raise InputError(
                f"--eval-share {self.eval_share:g}; expected a share between 0 and 1, "
                "such as 0.1"
            )
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
        return _key(self.label) in LIST_COLUMNS


def find_columns(table: Path, header: Sequence[str], options: TableOptions) -> Columns:
    """Chooses among the columns of a table.

    Raises:
      InputError: A column is not there; names the nearest one, and how to choose.
    """
    if not header:
        raise InputError(f"{table} is empty; expected a line that names the columns")
    file = _choose(table, header, "file", options.file_column, FILE_COLUMNS)
    label = _choose(table, header, "label", options.label_column, LABEL_COLUMNS)
    split = None
    if options.split_column or any(_key(name) in SPLIT_COLUMNS for name in header):
        split = _choose(table, header, "split", options.split_column, SPLIT_COLUMNS)
    return Columns(file, label, split)


def _choose(
    table: Path,
    header: Sequence[str],
    what: str,
    asked: str | None,
    known: Sequence[str],
) -> str:
    called = {_key(name): name for name in reversed(header)}
    wanted = [_key(asked)] if asked else known
    found = next((called[key] for key in wanted if key in called), None)
    if found is not None:
        return found
    guess = nearest(asked or what, header)
    hint = f"did you mean {guess!r}? " if guess else ""
    looked_for = repr(asked) if asked else f"of {what}s ({', '.join(known)})"
    raise InputError(
        f"{table}: no column {looked_for}; {hint}found {', '.join(header)}; choose one "
        f"with --{what}-column"
    )


def _key(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


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
