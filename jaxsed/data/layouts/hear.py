"""A task of event detection as HEAR lays it out (Turian et al. 2022; hear-preprocess).

    SRC/task_metadata.json          {"task_name": ..., "embedding_type": "event", ...}
    SRC/labelvocabulary.csv         idx,label
    SRC/train.json                  {"a.wav": [{"label": "dog", "start": 120.0,
    SRC/valid.json                    "end": 400.0}, ...], ...}, times in milliseconds
    SRC/test.json
    SRC/48000/train/a.wav           the sounds, at one rate or several

`valid` and `test` are the splits `validation` and `eval`. Tasks with folds have
`fold00.json` and `48000/fold00/a.wav` and so on instead, every fold a split. The classes
are those of the vocabulary, in its order, for all splits. A file with an empty list is a
clip without events.
"""

import json
import math
import re
from pathlib import Path
from typing import Any

from jaxsed.data.layouts.event_listing import EventListing
from jaxsed.data.layouts.matching import find_audio, match_paths
from jaxsed.data.layouts.source import FRAMES, SourceSplit
from jaxsed.data.problems import RawEvent
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path, composed
from jaxsed.labels.tables import read_table
from jaxsed.labels.vocab import Vocabulary

NAME = "hear"
ANNOTATIONS = (FRAMES,)
_CALLED = {"train": "train", "validation": "valid", "eval": "test"}
SPLITS = tuple(_CALLED)
_METADATA, _VOCABULARY = "task_metadata.json", "labelvocabulary.csv"
_FOLD = re.compile(r"fold\d+")


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return f"{_METADATA}, {_VOCABULARY}, and train.json or fold00.json"


def available_splits(source: Path) -> list[str]:
    """Returns the splits or folds of a task; none if it is no task.

    Raises:
      InputError: It is not one of event detection.
    """
    if not (source / _METADATA).is_file() or not (source / _VOCABULARY).is_file():
        return []
    _read_metadata(source)
    there = [split for split in SPLITS if (source / f"{_CALLED[split]}.json").is_file()]
    return there + folds(source)


def folds(source: Path) -> list[str]:
    """Returns the folds of a task, which are splits too."""
    names = sorted(path.stem for path in source.glob("fold*.json"))
    return [name for name in names if _FOLD.fullmatch(name)]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = FRAMES,
) -> SourceSplit:
    """Reads the events and finds audio, at the highest rate; opens no sound file.

    Args:
      source: The folder of the task.
      split: `train`, `validation`, `eval`, or a fold: `fold00`.
      vocabulary: The classes; by default those of the task.
      exclude: A folder in which not to look for audio.
      annotation: There is but `frames`.

    Raises:
      InputError: A file is missing or unreadable, the task is not one of event detection,
        or the split has no clip.
    """
    metadata = _read_metadata(source)
    vocabulary = vocabulary or _read_vocabulary(source, metadata)
    called = _CALLED.get(split, split)
    clips = _read_json(source / f"{called}.json")
    if not clips:
        raise InputError(f"{source / called}.json is empty: no clip of {split}")
    seconds = metadata.get("sample_duration")
    seconds = seconds if _is_number(seconds) and seconds > 0 else math.nan
    paths = {file: clip_path(file) for file in clips}
    listing = EventListing(dict.fromkeys(paths.values(), float(seconds)))
    for file, events in clips.items():
        _add_events(listing, paths[file], events, f"{called}.json, {file}")
    rates = [path.name for path in source.iterdir() if path.name.isdecimal()]
    rates = [rate for rate in rates if (source / rate / called).is_dir()]
    folder = f"{max(rates, key=int)}/{called}/" if rates else None
    found = (
        (stem, sound)
        for stem, sound in find_audio(source, exclude)
        if folder and sound.name.startswith(folder)
    )
    audio = match_paths(listing.clips, listing.clips, found, listing.problems)
    return listing.split(NAME, split, source, vocabulary, audio)


def _add_events(listing: EventListing, clip: str, events: Any, where: str) -> None:
    if not isinstance(events, list):
        listing.reject(clip, where, 0, "not a list of events")
        return
    if not events:
        listing.add_nothing(clip)
    for event in events:
        fields = event if isinstance(event, dict) else {}
        times = fields.get("start"), fields.get("end")
        if not all(map(_is_number, times)) or "label" not in fields:
            what = f"{json.dumps(event)} lacks label, start or end in milliseconds"
            listing.reject(clip, where, 0, what)
            continue
        onset, offset = (time / 1000 for time in times)
        label = composed(str(fields["label"]))
        listing.add_event(clip, RawEvent(onset, offset, label, 0))


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _read_metadata(source: Path) -> dict[str, Any]:
    metadata = _read_json(source / _METADATA)
    kind = metadata.get("embedding_type")
    if kind != "event":
        raise InputError(
            f"{source / _METADATA}: embedding_type is {kind!r}; layout {NAME} is for "
            "tasks of event detection, 'event'"
        )
    return metadata


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected an object {{...}}, as HEAR writes it")
    return value


def _read_vocabulary(source: Path, metadata: dict[str, Any]) -> Vocabulary:
    path = source / _VOCABULARY
    names: dict[int, str] = {}
    for line, values in read_table(path, ",", ("idx", "label")):
        index, label = values or ("", "")
        if not index.isdecimal() or not label or int(index) in names:
            raise InputError(
                f"{path}, line {line}: expected an idx of its own and a label"
            )
        names[int(index)] = composed(label)
    if sorted(names) != list(range(len(names))):
        raise InputError(
            f"{path}: idx must be 0 to {len(names) - 1}, each once; found "
            f"{min(names)} to {max(names)}"
        )
    name = f"{metadata.get('task_name', NAME)}_{len(names)}"
    try:
        return Vocabulary(name, tuple(names[k] for k in range(len(names))))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
