"""Which columns of a parquet file are sound, id and labels (see `huggingface_parquet`)."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jaxsed.data.layouts.source import CLIPS, FRAMES
from jaxsed.data.problems import WHOLE_CLIP, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import composed

AUDIO = ("audio", "mp3_bytes", "audio_bytes")
FILE_NAMES = ("filename", "file_name")
IDS = ("segment_id", "video_id", "clip_id", "id", *FILE_NAMES)
ONSETS = ("onset", "onsets", "start", "starts", "start_time", "start_times")
ONSETS += ("start_time_seconds", "start_seconds")
OFFSETS = ("offset", "offsets", "end", "ends", "end_time", "end_times")
OFFSETS += ("end_time_seconds", "end_seconds")
EVENT_LABELS = ("event_label_id", "event_label_ids", "event_label", "event_labels")
EVENT_LABELS += ("label", "labels")
CLIP_LABELS = ("label_ids", "labels", "label", "human_labels")
_ROWS_AT_ONCE = 1024


class EventColumns(NamedTuple):
    """Where onset, offset and label of events are.

    Attributes:
      parent: The column that holds the three; None if they are columns themselves.
      fields: Names of the three.
    """

    parent: str | None
    fields: tuple[str, str, str]


class Columns(NamedTuple):
    """What is read of a file.

    Attributes:
      audio: Column of the sounds.
      id: Column of the ids; None: the path within the sounds' column.
      labels: Column of the labels of clips, or where events are.
      class_names: What labels that are numbers mean; None if they are text.
      one_label: Whether there is room for but one label of a clip.
    """

    audio: str
    id: str | None
    labels: str | EventColumns
    class_names: tuple[str, ...] | None
    one_label: bool

    @property
    def annotation(self) -> str:
        """`frames` or `clips`."""
        return FRAMES if isinstance(self.labels, EventColumns) else CLIPS


def find_columns(schema, path: Path, annotation: str | None = None) -> Columns:
    """Chooses among the columns of a file.

    Args:
      schema: Its Arrow schema.
      path: What to call it in errors.
      annotation: `frames` or `clips`; by default what is there, frames first.

    Raises:
      InputError: There is no sound, id or annotation in any form known.
    """
    held = ", ".join(f"{field.name} ({field.type})" for field in schema) or "nothing"
    audio = next((name for name in AUDIO if _is_sound(schema, name)), None)
    if audio is None:
        raise InputError(
            f"{path}: no column of sounds; expected audio with bytes inside, or one of "
            f"{', '.join(AUDIO[1:])}; found {held}"
        )
    clip_id = next((name for name in IDS if name in schema.names), None)
    if clip_id is None and "path" not in _fields(schema.field(audio).type):
        raise InputError(
            f"{path}: no column names the clips; expected one of {', '.join(IDS)}, or a "
            f"path in {audio}; found {held}"
        )
    labels: str | EventColumns | None = None
    if annotation != CLIPS:
        labels = _event_columns(schema)
    if labels is None and annotation != FRAMES:
        labels = next((name for name in CLIP_LABELS if name in schema.names), None)
    if labels is None:
        raise InputError(
            f"{path}: no column of labels; expected events (onset, offset, label) for "
            f"frames, or one of {', '.join(CLIP_LABELS)} for clips; found {held}"
        )
    one_label = isinstance(labels, str) and not _is_list(schema.field(labels).type)
    class_names = _class_names(schema, labels, path)
    return Columns(audio, clip_id, labels, class_names, one_label)


def read_rows(file, columns: Columns) -> Iterator[tuple[str, list[RawEvent]]]:
    """Yields id ("" if there is none) and annotation of every row, reading no sound."""
    names = [columns.id or f"{columns.audio}.path"]
    if isinstance(columns.labels, str):
        names.append(columns.labels)
    else:
        parent, fields = columns.labels
        names += [parent] if parent else fields
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=names, use_threads=False):
        for row in batch.to_pylist():
            yield _id_of(row, columns), list(_events_of(row, columns))


def _is_sound(schema, name: str) -> bool:
    from pyarrow import types

    if name not in schema.names:
        return False
    found = schema.field(name).type
    if "bytes" in _fields(found):
        found = found.field("bytes").type
    return types.is_binary(found) or types.is_large_binary(found)


def _fields(found) -> list[str]:
    """Returns the names within a structure, or within a list of structures."""
    from pyarrow import types

    if _is_list(found):
        found = found.value_type
    if not types.is_struct(found):
        return []
    return [found.field(i).name for i in range(found.num_fields)]


def _is_list(found) -> bool:
    from pyarrow import types

    return types.is_list(found) or types.is_large_list(found)


def _event_columns(schema) -> EventColumns | None:
    sides = [field.name for field in schema if _is_list(field.type)]
    events = _fields(schema.field("events").type) if "events" in schema.names else []
    for parent, names in (("events", events), (None, sides)):
        fields = tuple(
            next((name for name in known if name in names), None)
            for known in (ONSETS, OFFSETS, EVENT_LABELS)
        )
        if None not in fields:
            return EventColumns(parent, fields)
    return None


def _class_names(
    schema, labels: str | EventColumns, path: Path
) -> tuple[str, ...] | None:
    """Returns the names of numbered classes, from what Hugging Face adds to a file."""
    from pyarrow import types

    is_event = isinstance(labels, EventColumns)
    within = labels.fields[2] if is_event else labels
    column = (labels.parent or within) if is_event else labels
    found = schema.field(column).type
    while _is_list(found) or within in _fields(found):
        found = found.value_type if _is_list(found) else found.field(within).type
    if not types.is_integer(found):
        return None
    try:
        added = json.loads((schema.metadata or {})[b"huggingface"])
        feature = added["info"]["features"][column]
        while "names" not in feature:
            if isinstance(feature, list):
                feature = feature[0]
            else:
                feature = feature.get(within) or feature["feature"]
        return tuple(map(str, feature["names"]))
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise InputError(
            f"{path}: {within} holds numbers, and the file does not say which classes "
            "they are (Hugging Face's ClassLabel); write labels as text"
        ) from error


def _id_of(row: dict[str, Any], columns: Columns) -> str:
    if columns.id is None:
        name = (row[columns.audio] or {}).get("path")
    else:
        name = row[columns.id]
    text = "" if name is None else composed(str(name))
    is_file = columns.id is None or columns.id in FILE_NAMES
    return PurePosixPath(text).stem if is_file else text


def _events_of(row: dict[str, Any], columns: Columns) -> Iterator[RawEvent]:
    if isinstance(columns.labels, str):
        labels = row[columns.labels]
        if labels is None or isinstance(labels, (str, int)):
            labels = [labels]
        for label in labels:
            if label is not None:
                yield RawEvent(*WHOLE_CLIP, _spelled(label, columns.class_names), 0)
        return
    for onset, offset, label in _events_in(row, columns.labels):
        spelled = "" if label is None else _spelled(label, columns.class_names)
        yield RawEvent(_seconds(onset), _seconds(offset), spelled, 0)


def _events_in(row: dict[str, Any], where: EventColumns) -> Iterable[Sequence]:
    held = row[where.parent] if where.parent else row
    if isinstance(held, list):
        return [[event[name] for name in where.fields] for event in held if event]
    return zip(*((held or {}).get(name) or [] for name in where.fields))


def _spelled(label: str | int, class_names: Sequence[str] | None) -> str:
    if class_names is None:
        return str(label)
    return class_names[label] if 0 <= label < len(class_names) else f"class {label}"


def _seconds(time: float | None) -> float:
    return math.nan if time is None else float(time)
