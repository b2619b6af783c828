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
from typing import Any, BinaryIO, NamedTuple

from jaxsed.inference.outputs import Detection

_END_BYTES = 4096  # a WAV's header and its comment, and a few ms of sound


class Entry(NamedTuple):
    """A finished file.

    Attributes:
      source: Absolute path of the sound.
      fingerprint: Of the sound file, the model and the options; see `fingerprint`.
      settings: A mark of the model and the options alone.
      outputs: Results that were written, relative to the folder, with their bytes.
      problem: What was wrong with the sound, or "".
      seconds: Length of the sound.
      place: Where its line starts in the journal.
    """

    source: str
    fingerprint: str
    settings: str
    outputs: dict[str, int]
    problem: str
    seconds: float
    place: int


def fingerprint(path: Path, settings: dict[str, Any]) -> str:
    """Returns a hash that changes when results would.

    Args:
      path: The sound; its size, its time of change, its first and its last bytes stand
        for its content. Recorders with one timetable make files of the same names, sizes
        and times, and memory cards come to the same place, one after the other.
      settings: All else that results depend on, JSON-able.

    Raises:
      OSError: No such file, or it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        ends = file.read(_END_BYTES)
        file.seek(max(0, status.st_size - _END_BYTES))
        ends += file.read(_END_BYTES)
    told = status.st_size, status.st_mtime_ns, hashlib.sha256(ends).hexdigest()
    return _mark(json.dumps([*told, settings], sort_keys=True))


def settings_mark(settings: dict[str, Any]) -> str:
    """Returns a hash of what the results of all files depend on, JSON-able."""
    return _mark(json.dumps(settings, sort_keys=True))


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal:
    """The journal of a folder of results.

    A sound is in it once: found under another name later (from a folder further up), it
    has that one.

    Args:
      path: The file; made with the first entry. A line that was cut off is ignored.
    """

    def __init__(self, path: Path):
        self._path = path
        self._entries: dict[str, Entry] = {}
        self._name_of: dict[str, str] = {}  # source: name
        for place, line in _lines(path):
            try:
                record = json.loads(line)
                if record.get("failed"):
                    self._drop(record["name"])
                    continue
                record["events"]
                entry = Entry(
                    record["source"],
                    record["fingerprint"],
                    record["settings"],
                    dict(record["outputs"]),
                    record["problem"],
                    record["seconds"],
                    place,
                )
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            self._keep(record["name"], entry)

    def _keep(self, name: str, entry: Entry) -> None:
        earlier = self._name_of.get(entry.source, name)
        if earlier != name:
            self._drop(earlier)
        self._drop(name)
        self._entries[name] = entry
        self._name_of[entry.source] = name

    def _drop(self, name: str) -> bool:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._name_of.pop(entry.source, None)
        return entry is not None

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def lacking(
        self, name: str, fingerprint: str, outputs: Iterable[str]
    ) -> list[str] | None:
        """Returns which of these outputs are not there as they would come out again.

        They lie in the journal's folder. After a power cut files may be empty that were
        written before it. None if nothing is known of any output, since the file is new
        or something has changed.
        """
        entry = self._entries.get(name)
        if entry is None or entry.fingerprint != fingerprint:
            return None
        return [
            output
            for output in outputs
            if output not in entry.outputs
            or entry.outputs[output] != self._bytes_of(output)
        ]

    def _bytes_of(self, output: str) -> int | None:
        try:
            return (self._path.parent / output).stat().st_size
        except OSError:
            return None

    def add(
        self,
        name: str,
        source: str,
        fingerprint: str,
        outputs: Iterable[str],
        detections: Iterable[Detection],
        *,
        settings: str = "",
        problem: str = "",
        seconds: float = 0.0,
    ) -> None:
        """Records a file whose results are all written."""
        outputs = {output: self._bytes_of(output) for output in outputs}
        place = self._append(
            {
                "name": name,
                "source": source,
                "fingerprint": fingerprint,
                "settings": settings,
                "outputs": outputs,
                "problem": problem,
                "seconds": seconds,
                "events": [row[1:] for row in detections],
            }
        )
        entry = Entry(source, fingerprint, settings, outputs, problem, seconds, place)
        self._keep(name, entry)

    def add_outputs(self, name: str, outputs: Iterable[str]) -> None:
        """Records that a finished file has these results, too."""
        entry = self._entries[name]
        self.add(
            name,
            entry.source,
            entry.fingerprint,
            dict.fromkeys([*entry.outputs, *outputs]),
            self.events(name),
            settings=entry.settings,
            problem=entry.problem,
            seconds=entry.seconds,
        )

    def remove_other(self, name: str, fingerprint: str) -> None:
        """Records that results are about to be replaced that were made otherwise."""
        if name in self._entries and self._entries[name].fingerprint != fingerprint:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Records that a file that was finished earlier cannot be used any more."""
        if self._drop(name):
            self._append({"name": name, "failed": True})

    def n_of_other(self, settings: str) -> int:
        """Returns how many finished files are of other settings than these."""
        return sum(entry.settings != settings for entry in self._entries.values())

    def problems(self, settings: str) -> list[str]:
        """Returns what was wrong with the finished files of these settings."""
        known = sorted(self._entries.items())
        return [e.problem for _, e in known if e.problem and e.settings == settings]

    def detections(self, settings: str = "") -> Iterator[Detection]:
        """Yields the events of finished files, in order of the files' names.

        Args:
          settings: Files of other settings are left out: a threshold or a model for each
            would make no table.
        """
        if not self._entries:
            return
        with self._path.open("rb") as file:
            for name in sorted(self._entries):
                if self._entries[name].settings != settings:
                    continue
                yield from self._events(name, file)

    def events(self, name: str) -> list[Detection]:
        """Returns the events of one finished file."""
        with self._path.open("rb") as file:
            return list(self._events(name, file))

    def _events(self, name: str, file: BinaryIO) -> Iterator[Detection]:
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
