"""Several prepared folders read as one, such as DESED's strong, weak and synthetic clips."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from jaxsed.data.activity import ClassActivity
from jaxsed.data.layouts.source import CLIPS, FRAMES, NONE
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.events import Event

MIXED = "mixed"  # of folders whose annotation is not the same


def open_data(
    folders: str | Path | Sequence[str | Path], reads_labels: bool = True
) -> "PreparedData | JoinedData":
    """Opens a prepared folder, or several as one.

    Args:
        folders: one, or a tuple or list of them.
        reads_labels: whether labels will be read. Without, classes may differ.

    Raises:
        InputError: there is none, one of them is not a prepared folder, or has no labels
            to read; or of several, one is empty, named twice or has other classes than
            the first.
    """
    parts = [PreparedData(folder) for folder in _listed(folders)]
    if not parts:
        raise InputError("data.train names no folder: give at least one")
    for part in parts if reads_labels else ():
        require_labels(part)
    return parts[0] if len(parts) == 1 else JoinedData(parts, reads_labels)


def are_there(folders: str | Path | Sequence[str | Path]) -> bool:
    """Returns whether there are such folders; arguments of `open_data`."""
    listed = [str(folder) for folder in _listed(folders)]
    return bool(listed) and all(name and Path(name).is_dir() for name in listed)


def are_mixed(folders: str | Path | Sequence[str | Path]) -> bool:
    """Returns whether of some clips it is known when something sounds, of others what alone.

    Args:
        folders: as of `open_data`; where they are not there, nobody knows: False.

    Raises:
        InputError: as `open_data`.
    """
    return are_there(folders) and annotation_of(open_data(folders)) == MIXED


def _listed(folders) -> Sequence[str | Path]:
    return (folders,) if isinstance(folders, str | Path) else folders


def require_labels(data: "PreparedData | JoinedData") -> None:
    """Refuses sounds alone.

    Raises:
        InputError: the data were prepared without labels.
    """
    if annotation_of(data) == NONE:
        raise InputError(
            f"{data.directory} has sounds without labels, from which pre-training alone "
            "can learn: prepare them with a layout that reads labels"
        )


def parts_of(data: "PreparedData | JoinedData") -> "Sequence[PreparedData]":
    """Returns the folders that data were opened from."""
    return getattr(data, "parts", (data,))


def annotation_of(data: "PreparedData | JoinedData") -> str:
    """Returns whose labels the data have: of `frames`, `clips`, `mixed`, or `none`."""
    return getattr(data, "manifest", {}).get("annotation", FRAMES)


class JoinedData:
    """Reads like a `PreparedData` that has the clips of all, one folder after another.

    Ids are those of the folders, and need not be unique: DESED's weak and strong clips may
    be of the same film. Can be pickled.

    Attributes:
        parts: the folders.
        first_rows: int64 `[parts]`, the row of the first clip of each.
        vocabulary: the classes, the same for all; where no labels are read, those of the
            first folder.
        labels: `single` if it is that for all, else `multi`.
        manifest: `annotation`, which is `mixed` where some have labels of clips and some
            of frames.
        manifest_hash: follows from those of the parts, in their order.
        ids: str `[clips]`, a sequence.
        durations: float64 `[clips]`, seconds.
        directory: that of the first, for messages.
    """

    def __init__(self, parts: Sequence[PreparedData], reads_labels: bool = True):
        """Joins folders.

        Args:
            parts: the folders.
            reads_labels: whether labels will be read. Without, classes may differ.

        Raises:
            InputError: a folder is named twice, is empty, or has other classes than the
                first.
        """
        self.parts, self._reads_labels = tuple(parts), reads_labels
        first = self.parts[0]
        self.directory, self.vocabulary = first.directory, first.vocabulary
        for part, earlier in itertools.combinations(self.parts[::-1], 2):
            if part.directory == earlier.directory:
                raise InputError(f"data.train names {part.directory} twice")
        for part in self.parts:
            if not len(part):
                raise InputError(f"{part.directory} has no clip: leave it out")
            if reads_labels and part.vocabulary.hash != first.vocabulary.hash:
                raise InputError(
                    f"{part.directory} has the {len(part.vocabulary)} classes of "
                    f"{part.vocabulary.name}, {first.directory} the "
                    f"{len(first.vocabulary)} of {first.vocabulary.name}: prepare both "
                    "with the same --vocabulary"
                )
        kinds = {annotation_of(part) for part in self.parts}
        self.manifest = {"annotation": kinds.pop() if len(kinds) == 1 else MIXED}
        labels = {part.labels for part in self.parts}
        self.labels = "single" if labels == {"single"} else "multi"
        hashes = "\n".join(part.manifest_hash for part in self.parts)
        self.manifest_hash = hashlib.sha256(hashes.encode()).hexdigest()
        self.durations = np.concatenate([part.durations for part in self.parts])
        counts = [len(part) for part in self.parts]
        self.first_rows = np.cumsum([0, *counts[:-1]])
        self.ids = _Chained([part.ids for part in self.parts])

    def __reduce__(self):
        return JoinedData, (self.parts, self._reads_labels)

    def __len__(self) -> int:
        return len(self.durations)

    def knows_times(self, i: int) -> bool:
        """Returns whether clip `i` has labels of frames, rather than of the clip."""
        return annotation_of(self._at(i)[0]) != CLIPS

    def events(self, i: int) -> list[Event]:
        """Returns the events of clip `i`, as `PreparedData.events`."""
        self._check_reads_labels()
        part, row = self._at(i)
        return part.events(row)

    def activity(self) -> ClassActivity:
        """Returns how long each class sounds in each clip, as `PreparedData.activity`."""
        self._check_reads_labels()
        return ClassActivity.joined([part.activity() for part in self.parts])

    def place(self, i: int) -> str:
        """Returns where clip `i` lies, for messages."""
        part, row = self._at(i)
        return part.place(row)

    def audio_bytes(self, i: int) -> bytes:
        """Returns the original sound file of clip `i`."""
        part, row = self._at(i)
        return part.audio_bytes(row)

    def _check_reads_labels(self) -> None:
        if not self._reads_labels:
            raise InputError(
                "folders that were joined for their sounds have no classes in common: "
                "set data.sampling=uniform"
            )

    def _at(self, i: int) -> tuple[PreparedData, int]:
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        i = i % len(self)
        part = int(np.searchsorted(self.first_rows, i, side="right")) - 1
        return self.parts[part], int(i - self.first_rows[part])


class _Chained(Sequence[str]):
    """Ids of several folders, without copying them."""

    def __init__(self, columns: Sequence[Sequence[str]]):
        self._columns = columns
        self._ends = np.cumsum([len(column) for column in columns])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, which: int) -> str: ...

    @overload
    def __getitem__(self, which: slice) -> list[str]: ...

    def __getitem__(self, which):
        if isinstance(which, slice):
            return [self[i] for i in range(len(self))[which]]
        which = range(len(self))[which]
        column = int(np.searchsorted(self._ends, which, side="right"))
        start = int(self._ends[column]) - len(self._columns[column])
        return self._columns[column][which - start]

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self._columns)
