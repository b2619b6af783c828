"""Lines that say what sounds in recordings: of tables, and of label files beside them.

Audacity's label tracks (File > Export > Labels) have a line `onset TAB offset TAB label`
an event, in seconds, no header, and perhaps lines that start with a backslash and give
frequencies. A score behind a label, as `jaxsed detect` writes it, is left out, so that its
tracks can be corrected and learned from. Raven's selection tables have a header;
`Begin Time (s)`, `End Time (s)` and a column of annotation are read, and a selection that
is listed once a view counts once. A table may be of several recordings (`raven_files`).
"""

import math
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.event_columns import (
    RAVEN,
    EventOptions,
    find_event_columns,
    find_file_and_split,
)
from jaxsed.data.layouts.matching import walk
from jaxsed.data.layouts.raven_files import RavenFiles, columns_of_files
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path, composed
from jaxsed.labels.tables import (
    delimiter_of,
    read_header,
    read_rows,
    read_table,
    seconds_in,
)

# a.Table.1.selections.txt, a.selections.txt; BirdNET: a.BirdNET.selection.table.txt
_RAVEN_NAME = re.compile(
    r"(.+?)(\.table[._]?\d+)?(\.birdnet)?\.selections?(\.table)?\.txt", re.I
)
# What a model has detected is no annotation.
_OF_DETECT = (".audacity.txt", ".raven.txt")
_SELECTION = "selection"
_FREQUENCIES = "\\"
_SCORE = re.compile(r" \((?:0\.\d\d|1\.00)\)$")  # Dog (0.93)


class Line(NamedTuple):
    """What a line says.

    Attributes:
      path: The recording, as `clip_path` has it; "" if it is of none.
      times: Onset and offset as written; blanks: nothing sounds.
      label: The class as written.
      file: Name of the table or label file.
      number: Of the line; 0 if it is of the file as a whole.
      split: The value of the column of splits; "" without one.
      wrong: Why it cannot be used; "" if it can.
    """

    path: str
    times: tuple[str, str] = ("", "")
    label: str = ""
    file: str = ""
    number: int = 0
    split: str = ""
    wrong: str = ""


def lines_of_table(table: Path, options: EventOptions) -> tuple[list[Line], bool]:
    """Reads a table of events.

    Returns:
      Its lines, and whether it has a column of splits.

    Raises:
      InputError: It is not readable, lacks a column, or has no line with a file.
    """
    delimiter = delimiter_of(table)
    header = read_header(table, delimiter)
    file, split = find_file_and_split(table, header, options)
    columns = (file, *find_event_columns(table, header, options))
    columns += (split,) if split else ()
    lines = []
    for number, values in read_table(table, delimiter, columns):
        if values is None:
            lines.append(_broken("", table, number, "too few values"))
            continue
        path, onset, offset, label, where = (*values, "")[:5]
        path = clip_path(path)
        wrong = "" if path else "no file"
        times, label = (onset, offset), composed(label)
        lines.append(Line(path, times, label, table.name, number, where, wrong))
    if not any(line.path for line in lines):
        raise InputError(f"{table}: no line under {', '.join(columns)} has a file")
    return lines, split is not None


def find_label_files(
    source: Path, exclude: Path | None, label_format: str
) -> list[tuple[str, Path]]:
    """Finds label files: `(path of the recording, file)`, sorted; several may be of one.

    Those that `jaxsed detect` writes are none.
    """
    found = []
    for folder, names in walk(source, exclude):
        for name in names:
            match = _RAVEN_NAME.fullmatch(name)
            if label_format == RAVEN:
                stem = match and match[1]
            else:
                is_text = name.lower().endswith(".txt") and not match
                is_text &= not name.endswith(_OF_DETECT)
                stem = name[: -len(".txt")] if is_text else None
            if stem:
                found.append((clip_path(folder + stem), source / folder / name))
    return sorted(found)


def lines_of_audacity(path: str, file: Path, has_sound: bool) -> list[Line]:
    """Reads a label track.

    Args:
      path: The recording.
      file: The file; unreadable ones give a line that says so.
      has_sound: Whether there is a recording. Without one, a file that cannot be read, or
        whose first line is no label, is none of ours: it gives no lines.

    Returns:
      The lines; of an empty file one, that nothing sounds.
    """
    lines: list[Line] = []
    try:
        for number, cells in read_rows(file, "\t"):
            if cells[0].startswith(_FREQUENCIES):
                continue
            numbers = [seconds_in(cell) for cell in cells[:2]]
            is_label = len(numbers) == 2 and all(map(math.isfinite, numbers))
            if not (has_sound or lines or is_label):
                return []
            onset, offset, label = (*cells, "", "")[:3]
            if len(cells) < 2:
                wrong = "expected onset, offset and label, separated by TAB"
                lines.append(_broken(path, file, number, wrong))
            else:
                times, label = (onset, offset), composed(_SCORE.sub("", label))
                lines.append(Line(path, times, label, file.name, number))
    except InputError as error:
        if has_sound or lines:
            lines.append(_broken(path, file, 0, str(error)))
    return lines or ([Line(path)] if has_sound else [])


def lines_of_raven(
    path: str, file: Path, options: EventOptions, files: RavenFiles
) -> list[Line]:
    """Reads a selection table.

    Args:
      path: The recording beside it, by its name.
      file: The table; unreadable ones give a line that says so.
      options: What its column of labels is called.
      files: The recordings that there are: if selections say that they are of others
        than `path`, each is of the one that it names.

    Returns:
      The lines; of a table without a selection one, that nothing sounds.

    Raises:
      InputError: It lacks a column, or may be of several recordings.
    """
    try:
        header = read_header(file, "\t")
    except InputError as error:
        return [_broken(path, file, 0, str(error))]
    if not header:
        return [_broken(path, file, 0, "is empty; expected a header")]
    columns = tuple(find_event_columns(file, header, options))
    of_files = columns_of_files(header)
    has_numbers = any(name.lower() == _SELECTION for name in header)
    more = of_files + ((_SELECTION,) if has_numbers else ())
    rows: list[tuple[Line, dict[str, str]]] = []
    try:
        rows.extend(_selections(path, file, columns, more))
    except InputError as error:
        rows.append((_broken(path, file, 0, str(error)), {}))
    begins = {cells.get(of_files[0], "") for _, cells in rows if of_files} - {""}
    if files.are_others(begins, path):
        found = _find(begins, path, file, files)
        return [_of_file(line, *of_files, cells, found) for line, cells in rows]
    return [line for line, _ in rows] or [Line(path)]


def _selections(
    path: str, file: Path, columns: tuple[str, ...], more: tuple[str, ...]
) -> Iterator[tuple[Line, dict[str, str]]]:
    seen: set[str] = set()
    for number, values in read_table(file, "\t", columns + more):
        if values is None:
            yield _broken(path, file, number, "too few values"), {}
            continue
        onset, offset, label = values[:3]
        cells = dict(zip(more, values[3:]))
        selection = cells.get(_SELECTION)
        if selection and selection in seen:
            continue
        seen.add(selection)
        yield Line(path, (onset, offset), composed(label), file.name, number), cells


def _find(
    begins: Iterable[str], path: str, file: Path, files: RavenFiles
) -> dict[str, str]:
    folder = posixpath.dirname(path)
    try:
        return {begin: files.find(begin, folder) for begin in sorted(begins)}
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _of_file(
    line: Line,
    begin_column: str,
    start_column: str,
    cells: dict[str, str],
    found: dict[str, str],
) -> Line:
    """Returns the line of the recording that it names, with times in that."""
    if line.wrong:
        return line._replace(path="")
    begin, start = cells[begin_column], seconds_in(cells[start_column])
    if not begin or not math.isfinite(start):
        wrong = f"no {begin_column} or {start_column}; the table is of several files"
        return line._replace(path="", wrong=wrong)
    seconds = seconds_in(line.times[1]) - seconds_in(line.times[0])
    # To a microsecond, so that sums of decimals are decimals.
    times = f"{start:.6f}", f"{start + seconds:.6f}"
    return line._replace(path=found[begin], times=times)


def _broken(path: str, file: Path, number: int, wrong: str) -> Line:
    return Line(path, file=file.name, number=number, wrong=wrong)
