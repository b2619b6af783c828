"""Index, problems and manifest of a prepared folder, from the journals of its shards.

What comes out depends on the data alone, not on which process or host wrote which shard.
Journals are read one after the other into columns, so that two million clips fit.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import uuid
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.audio.resample import RESAMPLER
from jaxsed.data import records
from jaxsed.data.layouts.source import SourceSplit
from jaxsed.data.problems import Problem, count_kinds, to_tsv
from jaxsed.data.shards import read_journal
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary


def publish(source: SourceSplit, out: Path, shards: Iterable[Path]) -> dict:
    """Writes index, problems and, last, the manifest; returns the manifest.

    Args:
      source: The split.
      out: The prepared folder.
      shards: All its shards, finished.

    Raises:
      InputError: No clip can be used, a journal is gone, or the folder cannot be written.
    """
    stored = _StoredClips(len(source.vocabulary))
    problems = list(source.problems)
    for shard in shards:
        try:
            journal = read_journal(shard)
            stored.add_shard(shard.name, journal)
            problems += [Problem(*row) for row in journal["problems"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the journal of {shard} was changed meanwhile; run it again"
            ) from error
    problems_tsv = to_tsv(problems)
    kinds = count_kinds(problems)
    del problems
    if not len(stored):
        write_atomically(out / records.PROBLEMS, problems_tsv)
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise InputError(
            f"no clip can be used: {listed}; listed in {out / records.PROBLEMS}"
        )
    order = stored.order()
    manifest = {
        "format": records.FORMAT_VERSION,
        "layout": source.layout,
        "split": source.split,
        "annotation": source.annotation,
        "labels": source.labels,
        "clips": len(stored),
        "clips_listed": len(source.clips),
        "seconds": math.fsum(stored.durations),
        "content_hash": _content_hash(source.vocabulary, stored.clips(order)),
        "resampler": RESAMPLER,
        "problems": kinds,
        "shards": stored.shards,
        "classes": stored.count_classes(source.vocabulary, order),
        "vocabulary": source.vocabulary.to_json(),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    with _beside(out) as folder:
        records.write_index(
            folder,
            stored.clips(order),
            shard=(stored.shard[i] for i in order),
            row=(stored.row[i] for i in order),
        )
        write_atomically(folder / records.PROBLEMS, problems_tsv)
        write_atomically(folder / records.MANIFEST, text)
        for name in (records.PROBLEMS, records.INDEX, records.MANIFEST):
            os.replace(folder / name, out / name)
    return manifest


@contextlib.contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Makes a folder to write to, of which no other host makes the same."""
    folder = out / records.SHARDS / f"publish.{uuid.uuid4().hex}.tmp"
    try:
        folder.mkdir()
        yield folder
    except (OSError, InputError) as error:
        # Left-overs are removed by who has published: another host, the same, meanwhile.
        if not (out / records.MANIFEST).exists() or folder.exists():
            raise InputError(f"{out} cannot be written: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _StoredClips:
    """What the journals say of the clips that are used, as columns.

    Attributes:
      ids, durations, shard, row: A value a clip; `shard` counts in `shards`.
      shards: File, clips and bytes of every shard that holds a clip.
    """

    def __init__(self, n_classes: int):
        """Starts empty."""
        self.ids: list[str] = []
        self.durations, self.shard, self.row = array("d"), array("i"), array("i")
        self.shards: list[dict] = []
        self._sha256 = bytearray()
        self._first_event = array("q", [0])
        self._onsets, self._offsets = array("d"), array("d")
        self._labels = array("i")
        self._missing = np.zeros(n_classes, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def add_shard(self, name: str, journal: dict) -> None:
        """Takes over the clips of a journal."""
        n_clips = len(self)
        for entry in journal["clips"]:
            if "sha256" not in entry:
                self._missing[list({label for _, _, label in entry["events"]})] += 1
                continue
            self.shard.append(len(self.shards))
            self.row.append(len(self) - n_clips)
            self.ids.append(entry["id"])
            self.durations.append(entry["duration"])
            self._sha256 += bytes.fromhex(entry["sha256"])
            for onset, offset, label in entry["events"]:
                self._onsets.append(onset)
                self._offsets.append(offset)
                self._labels.append(label)
            self._first_event.append(len(self._labels))
        if len(self) > n_clips:
            size = {"clips": len(self) - n_clips, "bytes": journal["bytes"]}
            self.shards.append({"file": name} | size)

    def order(self) -> list[int]:
        """Returns the clips sorted by id."""
        return sorted(range(len(self)), key=self.ids.__getitem__)

    def clips(self, order: Iterable[int]) -> Iterator[dict]:
        """Yields the clips: `id, duration, sha256, events`."""
        for i in order:
            events = slice(self._first_event[i], self._first_event[i + 1])
            columns = self._onsets[events], self._offsets[events], self._labels[events]
            yield {
                "id": self.ids[i],
                "duration": self.durations[i],
                "sha256": self._sha256[32 * i : 32 * i + 32].hex(),
                "events": [list(event) for event in zip(*columns)],
            }

    def count_classes(self, vocabulary: Vocabulary, order: list[int]) -> list[dict]:
        """Per class: clips, events and seconds there are, and listed clips left out."""
        n_clips, n_events = ([0] * len(vocabulary) for _ in range(2))
        seconds = [0.0] * len(vocabulary)
        # Clip by clip in the order of the ids: sums of floats depend on it.
        for i in order:
            first, last = self._first_event[i], self._first_event[i + 1]
            labels = self._labels[first:last]
            for k, label in enumerate(labels, first):
                n_events[label] += 1
                seconds[label] += self._offsets[k] - self._onsets[k]
            for label in set(labels):
                n_clips[label] += 1
        return [
            {
                "mid": mid,
                "name": name,
                "clips": n_clips[k],
                "events": n_events[k],
                "seconds": round(seconds[k], 6),
                "missing": int(self._missing[k]),
            }
            for k, (name, mid) in enumerate(
                zip(vocabulary.names, vocabulary.mids, strict=True)
            )
        ]


def _content_hash(vocabulary: Vocabulary, clips: Iterable[dict]) -> str:
    """sha256 over the vocabulary's hash and, for every clip, id, audio hash, events."""
    digest = hashlib.sha256(vocabulary.hash.encode())
    for clip in clips:
        line = [clip["id"], clip["sha256"], clip["events"]]
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()
