"""What a folder of results already holds: one JSON line for every finished file.

A line is added once all results of a file are on disk, so that a run that is stopped at
any moment goes on with the next file. Lines also hold the events, from which the table
of all files is made. Of several lines about a file the last one counts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxsed.inference.outputs import Detection


class Entry(NamedTuple):
    """A finished file.

    Attributes:
      source: Absolute path of the sound.
      fingerprint: Of the sound file, the model and the options; see `fingerprint`.
      outputs: Results that were written, relative to the folder.
      place: Where its line starts in the journal.
    """

    source: str
    fingerprint: str
    outputs: tuple[str, ...]
    place: int


def fingerprint(path: Path, settings: dict[str, Any]) -> str:
    """Returns a hash that changes when results would.

    Args:
      path: The sound; its size and time of change stand for its content.
      settings: All else that results depend on, JSON-able.

    Raises:
      OSError: No such file.
    """
    status = os.stat(path)
    text = json.dumps([status.st_size, status.st_mtime_ns, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal:
    """The journal of a folder of results.

    Args:
      path: The file; made with the first entry. A line that was cut off is ignored.
    """

    def __init__(self, path: Path):
        self._path = path
        self._entries: dict[str, Entry] = {}
        for place, line in _lines(path):
            try:
                record = json.loads(line)
                name = record["name"]
                if record.get("failed"):
                    self._entries.pop(name, None)
                    continue
                entry = (record["source"], record["fingerprint"], record["outputs"])
                record["events"]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            self._entries[name] = Entry(*entry[:2], tuple(entry[2]), place)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def finished(
        self, name: str, fingerprint: str, outputs: Iterable[str], folder: Path
    ) -> bool:
        """Whether all these outputs exist and would come out the same again."""
        entry = self._entries.get(name)
        return (
            entry is not None
            and entry.fingerprint == fingerprint
            and set(outputs) <= set(entry.outputs)
            and all((folder / output).is_file() for output in outputs)
        )

    def add(
        self,
        name: str,
        source: str,
        fingerprint: str,
        outputs: Iterable[str],
        detections: Iterable[Detection],
    ) -> None:
        """Records a file whose results are all written."""
        outputs = tuple(outputs)
        place = self._append(
            {
                "name": name,
                "source": source,
                "fingerprint": fingerprint,
                "outputs": outputs,
                "events": [row[1:] for row in detections],
            }
        )
        self._entries[name] = Entry(source, fingerprint, outputs, place)

    def remove(self, name: str) -> None:
        """Records that a file that was finished earlier cannot be used any more."""
        if self._entries.pop(name, None):
            self._append({"name": name, "failed": True})

    def detections(self) -> Iterator[Detection]:
        """Yields the events of all finished files, in order of the files' names."""
        if not self._entries:
            return
        with self._path.open("rb") as file:
            for name in sorted(self._entries):
                file.seek(self._entries[name].place)
                for event in json.loads(file.readline())["events"]:
                    yield Detection(name, *event)

    def _append(self, record: dict[str, Any]) -> int:
        line = json.dumps(record).encode() + b"\n"  # ASCII: any name survives
        with self._path.open("ab") as file:
            place = file.tell()
            if place and not _ends_with_newline(self._path):
                line, place = b"\n" + line, place + 1
            file.write(line)
        return place


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        place = 0
        for line in file:
            yield place, line
            place += len(line)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
