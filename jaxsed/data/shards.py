"""One shard of prepared data: clips read, checked and stored, and a journal of it.

A shard is written beside its place and moved there whole, then its journal: a JSON with
all that the index needs and a fingerprint of what went in. A shard whose journal fits
need not be written again.
"""

import functools
import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxsed.atomic import replacing, write_atomically
from jaxsed.audio.decode import AudioError, Measured, measure
from jaxsed.data import records
from jaxsed.data.layouts.audio_source import AudioReader
from jaxsed.data.layouts.source import SourceClip
from jaxsed.data.problems import (
    DURATION_TOLERANCE_SECONDS,
    Problem,
    clean_events,
    says_nothing,
)
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

# Half the smallest step of 16 bit: what a loader that hands out int16 rounds to zero.
_SILENCE = 0.5 / 32768


class ShardTask(NamedTuple):
    """What is needed to write one shard.

    Attributes:
      path: The ArrayRecord file; the journal lies beside it, ending in `.json`.
      vocabulary: The classes.
      clips: The clips, in order.
      merges_events: See `SourceSplit`.
    """

    path: Path
    vocabulary: Vocabulary
    clips: tuple[SourceClip, ...]
    merges_events: bool = True


class Written(NamedTuple):
    """A shard that was written.

    Attributes:
      path: The ArrayRecord file.
      is_current: Whether the inputs stayed as they were meanwhile.
    """

    path: Path
    is_current: bool


def _fingerprint(task: ShardTask) -> str:
    """Identifies what goes into a shard: annotation, classes, and the sounds."""
    digest = hashlib.sha256()
    digest.update(f"{records.FORMAT_VERSION} {task.vocabulary.hash}".encode())
    if not task.merges_events:
        digest.update(b"as annotated")
    stat = functools.cache(os.stat)  # a pack is asked once, not for every row
    for clip in task.clips:
        sound = clip.audio and clip.audio.fingerprint(stat)
        what = (clip.id, clip.events, clip.listed_seconds, sound)
        digest.update(repr(what).encode())
    return digest.hexdigest()


def journal_path(shard: Path) -> Path:
    """Returns where the JSON that says what is in a shard lies."""
    return shard.with_suffix(".json")


def is_finished(task: ShardTask) -> bool:
    """Returns whether a shard is there, whole, and made of what is there now."""
    try:
        journal = read_journal(task.path)
        if journal["bytes"] != task.path.stat().st_size:
            return False
        return journal["fingerprint"] == _fingerprint(task)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_journal(shard: Path) -> dict:
    """Returns the journal of a shard: `fingerprint, bytes, clips, problems`.

    Raises:
      OSError: There is none.
      ValueError: It is damaged.
    """
    return json.loads(journal_path(shard).read_text(encoding="utf-8"))


def write_shard(task: ShardTask) -> Written:
    """Reads, checks and stores the clips of one shard, then its journal.

    Raises:
      InputError: The shard cannot be written, or a pack cannot be opened.
    """
    # Taken first: a file that changes while it is read makes the journal outdated.
    fingerprint = _fingerprint(task)
    try:
        with replacing(task.path) as beside:
            entries, problems = _write_records(beside, task)
            journal = {
                "fingerprint": fingerprint,
                "bytes": beside.stat().st_size,
                "clips": entries,
                "problems": problems,
            }
        text = json.dumps(journal, ensure_ascii=False)
        write_atomically(journal_path(task.path), text)
    except (OSError, RuntimeError, InputError) as error:
        # Another run may have written it too, published, and removed what is left over.
        if is_finished(task):
            return Written(task.path, True)
        if isinstance(error, InputError):
            raise
        raise InputError(f"{task.path} cannot be written ({error})") from error
    return Written(task.path, _fingerprint(task) == fingerprint)


def _write_records(path: Path, task: ShardTask) -> tuple[list[dict], list[Problem]]:
    from array_record.python import array_record_module

    entries: list[dict] = []
    problems: list[Problem] = []
    writer = array_record_module.ArrayRecordWriter(str(path), records.WRITER_OPTIONS)
    with AudioReader() as reader:
        for clip in task.clips:
            entry, record, found = _read_clip(clip, task, reader)
            entries.append(entry)
            problems += found
            if record is not None:
                writer.write(record)
    writer.close()
    n_stored = sum("sha256" in entry for entry in entries)
    if n_stored and records.open_shard(path).num_records() != n_stored:
        raise RuntimeError("what was written cannot be read back")
    return entries, problems


def _read_clip(
    clip: SourceClip, task: ShardTask, reader: AudioReader
) -> tuple[dict, bytes | None, list[Problem]]:
    """Returns the journal's entry, the record if the clip is used, and the problems."""
    audio, sound, problems = _read_audio(clip, reader)
    duration = sound.seconds if sound else None
    events, wrong = clean_events(
        clip.id, clip.events, task.vocabulary, duration, task.merges_events
    )
    problems += wrong
    if sound is None:  # JSON knows no infinity
        events = [(on, off if math.isfinite(off) else on, k) for on, off, k in events]
    entry = {"id": clip.id, "events": events}
    if sound is None:
        return entry, None, problems
    if not events and not says_nothing(clip.events):
        problems.append(Problem(clip.id, "no_events", "no usable event left"))
        return entry, None, problems
    header = {
        "id": clip.id,
        "file": clip.audio.name,
        "sample_rate": sound.sample_rate,
        "channels": sound.channels,
    }
    entry["duration"] = duration
    entry["sha256"] = hashlib.sha256(audio).hexdigest()
    return entry, records.pack_record(header, audio), problems


def _read_audio(
    clip: SourceClip, reader: AudioReader
) -> tuple[bytes | None, Measured | None, list[Problem]]:
    if clip.audio is None:
        return None, None, [Problem(clip.id, "missing", "no sound found")]
    name = clip.audio.name
    try:
        audio = reader.read(clip.audio)
        sound = measure(audio, name)
    except AudioError as error:
        return None, None, [Problem(clip.id, error.kind, str(error))]
    return audio, sound, list(_audio_problems(clip, name, sound))


def _audio_problems(clip: SourceClip, name: str, sound: Measured) -> Iterator[Problem]:
    seconds = sound.seconds
    length = f"{name}: {seconds:.3f} s instead of {clip.listed_seconds:g} s"
    if sound.truncated:
        yield Problem(clip.id, "truncated", f"{name}: ends after {seconds:.3f} s")
    if seconds < clip.listed_seconds - DURATION_TOLERANCE_SECONDS:
        yield Problem(clip.id, "short", length)
    if seconds > clip.listed_seconds + DURATION_TOLERANCE_SECONDS:
        yield Problem(clip.id, "long", length)
    if sound.peak < _SILENCE:
        yield Problem(clip.id, "silent", name)
