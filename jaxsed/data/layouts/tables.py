"""Reading the tables that data sets come with: TSV and CSV, line by line."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxsed.errors import InputError

_SPELLED = {"\t": "TAB", ",": "comma"}


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
        if column not in header:
            raise InputError(
                f"{path}: no column {column!r}; found {', '.join(header) or 'nothing'} "
                f"(expected {', '.join(columns)}, separated by {_SPELLED[delimiter]})"
            )
        places.append(header.index(column))
    for line, row in rows:
        yield line, [row[place] for place in places] if max(places) < len(row) else None


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
      delimiter: TAB or comma. Quotes have a meaning in comma-separated tables only.
      comment: Lines that start so are left out, as blank ones are.

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
                yield line, [cell.strip() for cell in _cells(text, delimiter)]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (after line {line}); save it as UTF-8"
        ) from error


def _cells(text: str, delimiter: str) -> list[str]:
    text = text.rstrip("\r\n")
    if delimiter == "\t":
        return text.split("\t")
    try:
        return next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:  # a NUL, or a cell of more than 128 KB
        return []
