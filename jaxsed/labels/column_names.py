"""What the columns of tables of labels are called, whoever wrote them.

The released data sets', Raven's and BirdNET's names among them, and those that people
choose. Names are compared whatever their case and punctuation: `Begin Time (s)` is
`begin_time_s`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from jaxsed.errors import InputError

# The first that is there counts.
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
LABEL_COLUMNS = ("labels", "label", "category", "categories", "class", "class_name")
LABEL_COLUMNS += ("classes", "tags", "tag", "mids", "target", "targets")
_UNITS = ("", "_s", "_sec", "_seconds")
ONSET_COLUMNS = tuple(
    f"{word}{unit}"
    for word in ("onset", "start", "begin", "start_time", "begin_time", "onset_time")
    for unit in _UNITS
)
OFFSET_COLUMNS = tuple(
    f"{word}{unit}"
    for word in ("offset", "end", "stop", "end_time", "stop_time", "offset_time")
    for unit in _UNITS
)
EVENT_LABEL_COLUMNS = ("event_label", *LABEL_COLUMNS, "event", "event_type")
EVENT_LABEL_COLUMNS += ("annotation", "annotations", "species", "common_name")

_DURATION = re.compile(r"(event_)?(duration|dur|length)(_|$)")
_OTHER_UNIT = re.compile(
    r"_(ms|msec|millis|milliseconds|min|minutes|samples?|frames?)$"
)


def column_key(name: str) -> str:
    """Returns what a column is called, whatever its case and punctuation."""
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def find_column(header: Sequence[str], known: Sequence[str]) -> str | None:
    """Returns the first of the known columns that is there, as the header spells it.

    Args:
      header: What the columns of a table are called.
      known: What such a column is called, as `column_key` has it.
    """
    called = {column_key(name): name for name in reversed(header)}
    return next((called[key] for key in known if key in called), None)


def column_of_durations(header: Sequence[str]) -> str | None:
    """Returns the column of durations where there is none of offsets."""
    if find_column(header, OFFSET_COLUMNS) is not None:
        return None
    return next((name for name in header if _DURATION.match(column_key(name))), None)


def refuse_other_times(table: Path, name: str) -> None:
    """Refuses a column of times that are not seconds from the start of the recording.

    Args:
      table: The file, for the error.
      name: What the column is called.

    Raises:
      InputError: It is called a duration, or after another unit.
    """
    what = "durations" if _DURATION.match(column_key(name)) else None
    what = "no seconds" if _OTHER_UNIT.search(column_key(name)) else what
    if what:
        raise InputError(
            f"{table}: times under {name!r} seem to be {what}; expected onset and offset, "
            "both in seconds from the start of the recording"
        )
