"""Reading tables of labels, whoever wrote them: TSV and CSV, line by line."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxsed.errors import InputError, nearest

_SPELLED = {"\t": "TAB", ",": "comma", ";": "semicolon"}
_SEPARATOR = re.compile(r"\s*sep=.?\s*", re.IGNORECASE)


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
    columns = tuple(columns)
    rows = read_rows(path, delimiter)
    _, header = next(rows, (0, []))
    header = [name.lower() for name in header]
    places = []
    for column in columns:
        if column.lower() not in header:
            guess = nearest(column, set(header) - set(columns))
            hint = f"did you mean {guess!r}? " if guess else ""
            raise InputError(
                f"{path}: no column {column!r}; {hint}found "
                f"{', '.join(header) or 'nothing'} (expected {', '.join(columns)}, "
                f"separated by {_SPELLED[delimiter]})"
            )
        places.append(header.index(column.lower()))
    for line, row in rows:
        yield line, [row[place] for place in places] if max(places) < len(row) else None


def read_header(path: Path, delimiter: str) -> list[str]:
    """Returns the first line that is not blank, as cells; none of an empty file.

    Raises:
      InputError: Not readable, or not UTF-8.
    """
    return next((cells for _, cells in read_rows(path, delimiter)), [])


def delimiter_of(path: Path) -> str:
    """Returns what separates the columns: TAB, comma or semicolon.

    A `.tsv` whose first line has a TAB has TABs. Of any other file the first line tells:
    what it has most of, as spreadsheets write semicolons where the comma is a decimal
    point.

    Raises:
      InputError: Not readable, or not UTF-8.
    """
    # What could not be in a line of text, so that it comes back whole.
    first = next((cells[0] for _, cells in read_rows(path, "\n")), "")
    if path.suffix.lower() == ".tsv" and "\t" in first:
        return "\t"
    return max(",\t;", key=first.count)


def read_pairs(path: Path) -> dict[str, str]:
    """Reads a table `key TAB value` without a header.

    Raises:
      InputError: Not readable, not UTF-8, or a line without a TAB.
    """
    pairs = {}
    for line, row in read_rows(path, "\t"):
        if len(row) < 2:
            raise InputError(
                f"{path}, line {line}: expected two columns separated by a TAB"
            )
        pairs[row[0]] = row[1]
    return pairs


def read_rows(
    path: Path, delimiter: str, comment: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Reads a table without looking at a header, in bounded memory.

    Args:
      path: The file.
      delimiter: TAB, comma or semicolon, or a blank for any white space. Between commas
        and semicolons a quotation may hold these; around a cell between TABs quotation
        marks are left off.
      comment: Lines that start so are left out, as blank ones are, and as a first line
        is with which spreadsheets say what separates the columns (`sep=;`).

    Yields:
      `(line number, cells)`, cells without spaces around them; none for a line that
      is not a row at all.

    Raises:
      InputError: Not readable, or not UTF-8.
    """
    line = 0
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line, text in enumerate(file, start=1):
                if text.isspace() or (comment and text.startswith(comment)):
                    continue
                if line == 1 and _SEPARATOR.fullmatch(text):
                    continue
                yield line, [cell.strip() for cell in _cells(text, delimiter)]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (after line {line}); save it as UTF-8 (Excel calls it "
            "CSV UTF-8)"
        ) from error


def _cells(text: str, delimiter: str) -> list[str]:
    text = text.rstrip("\r\n")
    if delimiter == " ":
        return text.split()
    if delimiter == "\n":
        return [text]
    if delimiter == "\t":
        return [_unquoted(cell.strip()) for cell in text.split(delimiter)]
    try:
        return next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a NUL, or a cell of more than 128 KB
        return []


def _unquoted(cell: str) -> str:
    """Spreadsheets quote what has a comma or a quotation mark, between TABs as well."""
    if len(cell) < 2 or not cell[0] == cell[-1] == '"':
        return cell
    return cell[1:-1].replace('""', '"')


def seconds_in(cell: str) -> float:
    """Reads a number, with a point or a comma; NaN for what is none."""
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return math.nan
