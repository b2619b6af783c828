"""Detected events as files that other programs read.

One writer a format, all of the form `events, details -> text`; `write` puts the text on
disk in one step. Times are seconds with three decimals, scores have four.
"""

import contextlib
import csv
import errno
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from jaxsed import atomic
from jaxsed.errors import InputError
from jaxsed.labels.events import ScoredEvent

COLUMNS = ("filename", "onset", "offset", "event_label", "score")
SHORTEST_SECONDS = 0.001
# Too long; `06:00.wav` for exFAT; bytes that are no text for APFS.
_OF_THE_NAME = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ)


class Detection(NamedTuple):
    """A row of every table: an event with the names that a reader needs."""

    filename: str
    onset: float
    offset: float
    event_label: str
    score: float


class Details(NamedTuple):
    """What some formats tell about a file besides its events.

    Attributes:
      path: The sound file, as other programs find it.
      filename: How tables call it.
      duration_seconds: Its length.
      highest_hz: The highest frequency that the model hears.
      settings: What the events depend on: model, threshold, ...
    """

    path: str
    filename: str
    duration_seconds: float
    highest_hz: float
    settings: dict


def to_detections(
    events: Iterable[ScoredEvent], labels: Sequence[str], filename: str
) -> list[Detection]:
    """Names events and rounds them to what is written.

    Offsets are rounded down, for an event must not outlast its file. What is left
    shorter than a millisecond (a last frame of a few samples) is dropped: a reader
    would take it for an error.
    """
    detections = []
    for event in events:
        onset = round(event.onset, 3)
        offset = math.floor(round(event.offset * 1000, 6)) / 1000
        if offset - onset < SHORTEST_SECONDS / 2:
            continue
        score = round(event.score, 4)
        label = labels[event.label]
        detections.append(Detection(filename, onset, offset, label, score))
    return detections


def tsv(detections: Sequence[Detection], details: Details | None = None) -> str:
    """Tab-separated `filename onset offset event_label score`, as DCASE and DESED."""
    return _table(detections, "\t")


def comma_separated(
    detections: Sequence[Detection], details: Details | None = None
) -> str:
    """The same columns separated by commas; the header is there without events too."""
    return _table(detections, ",")


def json_document(detections: Sequence[Detection], details: Details) -> str:
    """One JSON object: the file, the settings, and a list of events."""
    events = [
        {name: value for name, value in row._asdict().items() if name != "filename"}
        for row in detections
    ]
    document = {
        "filename": details.filename,
        "duration": round(details.duration_seconds, 3),
        "settings": details.settings,
        "events": events,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def audacity(detections: Sequence[Detection], details: Details | None = None) -> str:
    """Audacity label track: onset, offset, `label (score)`; no header."""
    return "".join(
        f"{row.onset:.3f}\t{row.offset:.3f}\t{row.event_label} ({row.score:.2f})\n"
        for row in detections
    )


def raven(detections: Sequence[Detection], details: Details) -> str:
    """Raven selection table: one full-band selection on channel 1 an event."""
    rows = [
        {
            "Selection": number,
            "View": "Spectrogram 1",
            "Channel": 1,
            "Begin Time (s)": f"{row.onset:.3f}",
            "End Time (s)": f"{row.offset:.3f}",
            "Low Freq (Hz)": 0,
            "High Freq (Hz)": f"{details.highest_hz:g}",
            "Begin Path": details.path,
            "File Offset (s)": f"{row.onset:.3f}",
            "Label": row.event_label,
            "Score": f"{row.score:.4f}",
        }
        for number, row in enumerate(detections, start=1)
    ]
    columns = (
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
        "Begin Path",
        "File Offset (s)",
        "Label",
        "Score",
    )
    return _rows_to_text([columns, *(row.values() for row in rows)], "\t")


class Format(NamedTuple):
    """A format: what is appended to the sound file's name, and its writer."""

    ending: str
    writer: Callable[[Sequence[Detection], Details], str]


FORMATS = {
    "tsv": Format(".tsv", tsv),
    "csv": Format(".csv", comma_separated),
    "json": Format(".json", json_document),
    "audacity": Format(".audacity.txt", audacity),
    "raven": Format(".raven.txt", raven),
}


def one_line(text: str) -> str:
    """Returns text with single blanks for all white space."""
    return " ".join(text.split())


def write(path: Path, text: str) -> None:
    """Writes a text file in one step: complete, or not at all.

    Names that are not valid Unicode on disk come out with backslashes in the text.
    """
    with replacing(path) as partial:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_table(path: Path, detections: Iterable[Detection]) -> None:
    """Writes a TSV of any length in one step, row by row."""
    with replacing(path) as partial, open_text(partial) as file:
        _writer(file, "\t").writerow(COLUMNS)
        _writer(file, "\t").writerows(map(_formatted, detections))


def open_text(path: Path) -> TextIO:
    """Opens a text file for writing as all tables are: UTF-8, lines end with LF."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As `jaxsed.atomic.replacing`, for the many files of one run.

    Args:
      path: The place. Folders above it are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path, durable=False, sole_writer=True) as beside:
        yield beside


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Says in one line that results cannot be written.

    A name that the disk does not take is left to the file it belongs to.

    Raises:
      InputError: The disk is full, the folder is read-only, and so on.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _OF_THE_NAME:
            raise
        reason = error.strerror or error
        raise InputError(
            f"cannot write to {error.filename or folder}: {reason}; make room or choose "
            "another --out, and start again: finished files are kept"
        ) from error


def _table(detections: Iterable[Detection], separator: str) -> str:
    return _rows_to_text([COLUMNS, *map(_formatted, detections)], separator)


def _formatted(row: Detection) -> tuple[str, ...]:
    times = f"{row.onset:.3f}", f"{row.offset:.3f}"
    return row.filename, *times, row.event_label, f"{row.score:.4f}"


def _rows_to_text(rows: Iterable[Iterable], separator: str) -> str:
    text = io.StringIO(newline="")
    _writer(text, separator).writerows(rows)
    return text.getvalue()


def _writer(file: TextIO, separator: str):
    return csv.writer(file, delimiter=separator, lineterminator="\n")
