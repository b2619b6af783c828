"""One shard of prepared data: clips read, checked and stored, and a journal of it.

A shard is written beside its place and moved there whole, then its journal: a JSON with
all that the index needs and a fingerprint of what went in. A shard whose journal fits
need not be written again.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsed.audio.decode import AudioError, Decoded, decode
from jaxsed.data import records
from jaxsed.data.layouts.source import SourceClip
from jaxsed.data.problems import (
    DURATION_TOLERANCE_SECONDS,
    Problem,
    clean_events,
)
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

# Half the smallest step of 16 bit: what a loader that hands out int16 rounds to zero.
_SILENCE = 0.5 / 32768


class ShardTask(NamedTuple):
    """What is needed to write one shard.

    Attributes:
      path: The ArrayRecord file; the journal lies beside it, ending in `.json`.
      root: The data set, which file names are relative to.
      vocabulary: The classes.
      clips: The clips, in order.
    """

    path: Path
    root: Path
    vocabulary: Vocabulary
    clips: tuple[SourceClip, ...]


def _fingerprint(task: ShardTask) -> str:
    """Identifies what goes into a shard: annotation, classes, and the sound files."""
    digest = hashlib.sha256()
    digest.update(f"{records.FORMAT_VERSION} {task.vocabulary.hash}".encode())
    for clip in task.clips:
        stat = None
        if clip.audio is not None:
            with contextlib.suppress(OSError):
                stat = clip.audio.stat()
        file = stat and (_relative(clip, task.root), stat.st_size, stat.st_mtime_ns)
        what = (clip.id, clip.events, clip.listed_seconds, file)
        digest.update(repr(what).encode())
    return digest.hexdigest()


def _relative(clip: SourceClip, root: Path) -> str:
    return clip.audio.relative_to(root).as_posix()


def read_journal(task: ShardTask) -> dict | None:
    """Returns the journal of a shard that is finished and up to date, else None."""
    try:
        journal = json.loads(task.path.with_suffix(".json").read_text(encoding="utf-8"))
        if journal["bytes"] != task.path.stat().st_size:
            return None
        return journal if journal["fingerprint"] == _fingerprint(task) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_shard(task: ShardTask) -> Path:
    """Reads, checks and stores the clips of one shard, then its journal.

    Raises:
      InputError: The shard cannot be written.
    """
    from array_record.python import array_record_module

    # Taken first: a file that changes while it is read makes the journal outdated.
    fingerprint = _fingerprint(task)
    beside = task.path.with_name(f"{task.path.name}.{os.getpid()}.tmp")
    entries: list[dict] = []
    problems: list[Problem] = []
    try:
        writer = array_record_module.ArrayRecordWriter(
            str(beside), records.WRITER_OPTIONS
        )
        for clip in task.clips:
            entry, record, found = _read_clip(clip, task)
            problems += found
            if record is not None:
                writer.write(record)
            if entry is not None:
                entries.append(entry)
        writer.close()
        n_stored = sum("sha256" in entry for entry in entries)
        if n_stored and records.open_shard(beside).num_records() != n_stored:
            raise RuntimeError("what was written cannot be read back")
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        n_bytes = beside.stat().st_size
        os.replace(beside, task.path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{task.path} cannot be written ({error})") from error
    finally:
        beside.unlink(missing_ok=True)
    journal = {
        "fingerprint": fingerprint,
        "bytes": n_bytes,
        "clips": entries,
        "problems": problems,
    }
    text = json.dumps(journal, ensure_ascii=False)
    records.write_atomically(task.path.with_suffix(".json"), text.encode("utf-8"))
    return task.path


def _read_clip(
    clip: SourceClip, task: ShardTask
) -> tuple[dict, bytes | None, list[Problem]]:
    """Returns the journal's entry, the record if the clip is used, and the problems."""
    audio, decoded, problems = _read_audio(clip, task.root)
    duration = len(decoded.samples) / decoded.sample_rate if decoded else None
    events, wrong = clean_events(clip.id, clip.events, task.vocabulary, duration)
    problems += wrong
    entry = {"id": clip.id, "events": events}
    if decoded is None:
        return entry, None, problems
    if not events:
        problems.append(Problem(clip.id, "no_events", "no usable event left"))
        return entry, None, problems
    header = {
        "id": clip.id,
        "file": _relative(clip, task.root),
        "sample_rate": decoded.sample_rate,
        "channels": decoded.channels,
    }
    entry["duration"] = duration
    entry["sha256"] = hashlib.sha256(audio).hexdigest()
    return entry, records.pack_record(header, audio), problems


def _read_audio(
    clip: SourceClip, root: Path
) -> tuple[bytes | None, Decoded | None, list[Problem]]:
    if clip.audio is None:
        return None, None, [Problem(clip.id, "missing", "no sound file found")]
    name = _relative(clip, root)
    try:
        try:
            audio = clip.audio.read_bytes()
        except OSError as error:
            raise AudioError("missing", f"{name}: {error.strerror}") from error
        decoded = decode(audio, name)
    except AudioError as error:
        return None, None, [Problem(clip.id, error.kind, str(error))]
    return audio, decoded, list(_audio_problems(clip, name, decoded))


def _audio_problems(clip: SourceClip, name: str, decoded: Decoded) -> Iterator[Problem]:
    seconds = len(decoded.samples) / decoded.sample_rate
    length = f"{name}: {seconds:.3f} s instead of {clip.listed_seconds:g} s"
    if decoded.truncated:
        yield Problem(clip.id, "truncated", f"{name}: ends after {seconds:.3f} s")
    if seconds < clip.listed_seconds - DURATION_TOLERANCE_SECONDS:
        yield Problem(clip.id, "short", length)
    if seconds > clip.listed_seconds + DURATION_TOLERANCE_SECONDS:
        yield Problem(clip.id, "long", length)
    if np.abs(decoded.samples).max() < _SILENCE:
        yield Problem(clip.id, "silent", name)
