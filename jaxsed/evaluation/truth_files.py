"""Reading true events, clip durations and class names from the tables of data sets.

Tables may be separated by tabs, commas or semicolons, begin with a byte order mark and
end lines with CRLF. A row that makes no sense is left out and named in `problems`; a
table that cannot be understood at all is an InputError.

Clips are called as `jaxsed.labels.clip_names` says, by their files' paths.
"""

import math
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.clip_names import clip_ids_among, clip_path, composed
from jaxsed.labels.column_names import (
    EVENT_LABEL_COLUMNS,
    FILE_COLUMNS,
    OFFSET_COLUMNS,
    ONSET_COLUMNS,
    column_of_durations,
    find_column,
    refuse_other_times,
)
from jaxsed.labels.events import Event
from jaxsed.labels.tables import delimiter_of, read_rows, seconds_in
from jaxsed.labels.vocab import Vocabulary

# The columns of AudioSet Strong as released; beside them, others may be of the segment.
_AUDIOSET_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
# What an event is said by, and what such columns are called elsewhere.
_EVENT_COLUMNS = {
    "files": FILE_COLUMNS,
    "onsets": ONSET_COLUMNS,
    "offsets": OFFSET_COLUMNS,
    "labels": EVENT_LABEL_COLUMNS,
}
_BLANK = ("", "nan", "na")  # what pandas and R write for nothing
_MOST_OF_A_HEADER = 200  # characters of an error
_HEAR_COLUMNS = ["idx", "label"]


class TrueEvents(NamedTuple):
    """True events of a data set.

    Attributes:
        events: events of each clip; an empty list is a clip known to have none.
        vocabulary: what their labels mean.
        problems: one line for each row that was left out.
    """

    events: dict[str, list[Event]]
    vocabulary: Vocabulary
    problems: list[str]


def read_events(
    path: str | Path,
    model: Vocabulary,
    classes: Vocabulary | None = None,
    known_clips: Collection[str] = (),
) -> TrueEvents:
    """Reads events by clip; columns are found by their names (`labels.column_names`).

    Args:
        path: the table.
        model: classes of the model that is evaluated.
        classes: as of `read_paths`.
        known_clips: ids of the scores, which tell the folders that the table has and they
            have not (`clip_names.clip_ids_among`).

    Raises:
        InputError: unreadable, columns missing, no usable row, or two clips of the same
            id.
    """
    truth = read_paths(path, model, classes)
    ids = clip_ids_among(truth.events, known_clips)
    events = {ids[clip]: of_clip for clip, of_clip in truth.events.items()}
    return truth._replace(events=events)


def read_paths(
    path: str | Path, model: Vocabulary, classes: Vocabulary | None = None
) -> TrueEvents:
    """Reads events as `read_events`; clips are called by their paths in the table.

    Args:
        path: the table.
        model: classes of the model that is evaluated.
        classes: all classes that were listened for; they are the vocabulary, so that
            detections of one without an event count as wrong. If None, those of the
            model and of the shipped AudioSet lists may occur, and the vocabulary is what
            does. A label may be a name or a MID; an unknown one is a problem.

    Raises:
        InputError: unreadable, columns missing, or no usable row.
    """
    path = Path(path)
    header, rows = _read_rows(path)
    places = _event_places(path, header)
    known = [classes] if classes else [model, *(vocab.load(n) for n in vocab.SHIPPED)]
    label_of: dict[tuple[str, str | None], int] = {}
    if classes:
        pairs = zip(classes.names, classes.mids, strict=True)
        label_of = {pair: label for label, pair in enumerate(pairs)}
    found: dict[str, list[Event]] = {}
    problems: list[str] = []
    for line, row in rows:
        if len(row) <= max(places):
            problems.append(f"{path} line {line}: {len(row)} values, expected more")
            continue
        clip, onset, offset, label = (row[place].strip() for place in places)
        clip = clip_path(clip)
        if clip and all(cell.lower() in _BLANK for cell in (onset, offset, label)):
            found.setdefault(clip, [])  # DCASE's way to list a clip without events
            continue
        try:
            if not clip:
                raise InputError("no clip is named")
            times = _times(onset, offset)
            found.setdefault(clip, [])  # heard, even if nobody knows the class
            what = _resolve(composed(label), known)
        except InputError as error:
            problems.append(f"{path} line {line}: {error}")
            continue
        event = Event(*times, label_of.setdefault(what, len(label_of)))
        found[clip].append(event)
    if not any(found.values()):
        raise InputError(
            f"{path}: no usable event" + (f"; {problems[0]}" if problems else "")
        )
    names, mids = zip(*label_of, strict=True)
    return TrueEvents(found, Vocabulary(path.stem, names, mids), problems)


def read_durations(
    path: str | Path, known_clips: Collection[str] = ()
) -> tuple[dict[str, float], list[str]]:
    """Reads clip durations in seconds: columns `filename` and `duration`.

    Two columns may do without a header, as in the released eval_durations.csv.

    Args:
        path: the table.
        known_clips: as of `read_events`.

    Returns:
        `({clip id: seconds}, problems)`.

    Raises:
        InputError: unreadable, columns missing, or no usable row.
    """
    path = Path(path)
    header, rows = _read_rows(path)
    columns = [column.lower() for column in header]
    if len(header) == 2 and math.isfinite(seconds_in(header[1])):
        rows, places = [(1, header), *rows], [0, 1]
    elif {"filename", "duration"} <= set(columns):
        places = [columns.index("filename"), columns.index("duration")]
    else:
        raise InputError(
            f"{path}: columns are {', '.join(header)}; expected filename, duration"
        )
    found: dict[str, float] = {}
    problems = []
    for line, row in rows:
        values = [row[place].strip() if place < len(row) else "" for place in places]
        seconds = seconds_in(values[1])
        if values[0] and 0 < seconds < math.inf:
            found[clip_path(values[0])] = seconds
        else:
            problems.append(
                f"{path} line {line}: {values[1]!r} is not a duration in seconds"
            )
    if not found:
        raise InputError(f"{path}: no usable duration")
    ids = clip_ids_among(found, known_clips)
    return {ids[clip]: seconds for clip, seconds in found.items()}, problems


def read_classes(path: str | Path) -> Vocabulary:
    """Reads a table of classes.

    MIDs and names: two columns without a header (AudioSet's mid_to_display_name.tsv), or
    the columns `mid` and `name` or `display_name` among others. Names alone: the columns
    `idx` and `label` (HEAR's labelvocabulary.csv), in any order of rows.

    Raises:
        InputError: unreadable, or of another form.
    """
    path = Path(path)
    header, rows = _read_rows(path)
    lowered = [column.lower() for column in header]
    if sorted(lowered) == _HEAR_COLUMNS:
        return _names_alone(path, rows, lowered.index("label"))
    name = next((n for n in ("display_name", "name") if n in lowered), None)
    if "mid" in lowered and name:
        mid_place, name_place = lowered.index("mid"), lowered.index(name)
    elif len(header) == 2:
        rows, mid_place, name_place = [(1, header), *rows], 0, 1
    else:
        raise InputError(
            f"{path}: columns are {', '.join(header)}; expected MID and name, or idx "
            "and label"
        )
    names, mids = [], []
    for line, row in rows:
        if len(row) <= max(mid_place, name_place):
            raise InputError(f"{path} line {line}: expected a MID and a name")
        names.append(composed(row[name_place]))
        mids.append(row[mid_place] or None)
    return Vocabulary(path.stem, tuple(names), tuple(mids))


def _names_alone(
    path: Path, rows: Sequence[tuple[int, list[str]]], place: int
) -> Vocabulary:
    names = [composed(row[place]) if place < len(row) else "" for _, row in rows]
    if "" in names:
        line = rows[names.index("")][0]
        raise InputError(f"{path} line {line}: expected an idx and a label")
    return Vocabulary(path.stem, tuple(names))


def _event_places(path: Path, header: Sequence[str]) -> list[int]:
    """Returns where file, onset, offset and label are in a row."""
    columns = [find_column(header, [name]) for name in _AUDIOSET_COLUMNS]
    if None in columns:
        columns = _columns_by_name(path, header)
    return [header.index(name) for name in columns]


def _columns_by_name(path: Path, header: Sequence[str]) -> list[str]:
    columns = {what: find_column(header, of) for what, of in _EVENT_COLUMNS.items()}
    if columns["offsets"] is None:
        columns["offsets"] = column_of_durations(header)  # refused by its name
    for what, name in columns.items():
        if name is None:
            known = ", ".join(_EVENT_COLUMNS[what])
            found = textwrap.shorten(", ".join(header), _MOST_OF_A_HEADER)
            raise InputError(f"{path}: no column of {what} ({known}); found {found}")
    for what in ("onsets", "offsets"):
        refuse_other_times(path, columns[what])
    return list(columns.values())


def _resolve(label: str, known: Sequence[Vocabulary]) -> tuple[str, str | None]:
    for vocabulary in known:
        if label in vocabulary:
            index = vocabulary.index(label)
            return vocabulary.names[index], vocabulary.mids[index]
    known[0].index(label)  # raises, naming the nearest class
    raise AssertionError("unreachable")


def _times(onset: str, offset: str) -> tuple[float, float]:
    start, end = seconds_in(onset), seconds_in(offset)
    if not (math.isfinite(start) and math.isfinite(end)):
        raise InputError(f"times {onset!r} to {offset!r} are not seconds")
    if start < 0:
        raise InputError(f"the event starts at {onset} s, before the clip")
    if end <= start:
        raise InputError(f"the event ends at {offset} s, not after its start {onset} s")
    return start, end


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Returns the first row and the numbered others, without empty ones."""
    rows = list(read_rows(path, delimiter_of(path)))
    if not rows:
        raise InputError(f"{path}: the table is empty")
    return rows[0][1], rows[1:]
