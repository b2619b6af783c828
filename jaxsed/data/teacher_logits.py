"""Logits of a teacher (or the mean of several) for every training clip, on disk.

Read: `TeacherLogits`, from a store written here or from the HDF5 published with
PretrainedSED. Written: `TeacherLogitsWriter` in `jaxsed.data.teacher_writer`.

A store is a folder: `teacher_logits.json` (shape, vocabulary, teachers), `ids.json` and
`logits.f16`, float16 `[clips, t, c]`, C order, little-endian.
"""

import collections
import json
import logging
import math
import threading
from pathlib import Path

import numpy as np

from jaxsed.data.clip_ids import EXACT, RESPELLED, TRUNCATED, ClipIds
from jaxsed.data.teacher_store import DESCRIPTION, IDS, LOGITS, read_description
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError

__all__ = ["TeacherLogits", "TeacherLogitsWriter"]

MISS = "miss"
logger = logging.getLogger(__name__)


class TeacherLogits:
    """Random access to stored teacher logits by clip id.

    Files are opened when first read, in each process on its own, so an object can be
    pickled into loader workers. Safe to use from several threads.

    Ids are matched as `jaxsed.data.clip_ids` says: exactly, respelled, or cut short by
    the released code's bug. How often each happened is counted in `hits`, per process.

    Args:
        path: folder of a finished store, or an HDF5 file with `filenames` and
            `strong_logits [clips, c, t]` (needs h5py).

    Attributes:
        n_frames: label frames of 40 ms per clip.
        n_classes: classes.
        hits: Counter of "exact", "respelled", "truncated" and "miss".

    Raises:
        InputError: there is no such store, or it is unfinished, damaged, or HDF5
            without h5py installed.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        is_folder = self.path.is_dir()
        self._store = _FolderStore(self.path) if is_folder else _Hdf5Store(self.path)
        self.n_clips, self.n_frames, self.n_classes = self._store.shape
        self._ids = ClipIds(self._store.ids())
        self._begin()

    def _begin(self) -> None:
        self.hits: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def __getstate__(self):
        return {**self.__dict__, "hits": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin()

    def __len__(self) -> int:
        return self.n_clips

    def __contains__(self, clip_id: str) -> bool:
        return self._ids.find(clip_id) is not None

    @property
    def misses(self) -> int:
        """How many `get` of this process found nothing."""
        return self.hits[MISS]

    def get(self, clip_id: str) -> np.ndarray | None:
        """Returns the clip's logits, float16 `[t, c]`, or None if it has none.

        Raises:
            InputError: the file is damaged there.
        """
        found = self._ids.find(clip_id)
        with self._lock:
            self.hits[found[1] if found else MISS] += 1
        return None if found is None else self._store.read(found[0])

    def coverage(self, clip_ids) -> dict[str, int]:
        """Returns how many of `clip_ids` are found how; all four keys of `hits`."""
        counts = collections.Counter(
            found[1] if (found := self._ids.find(str(clip_id))) else MISS
            for clip_id in clip_ids
        )
        return {how: counts[how] for how in (EXACT, RESPELLED, TRUNCATED, MISS)}

    def check(self, vocabulary, clip_ids) -> None:
        """Makes sure the logits are of these classes and these clips.

        A clip without logits is only logged, with the number of them: its
        `teacher_valid` is False.

        Args:
            vocabulary: `Vocabulary` of the data. The published HDF5 does not say in
                which order its classes are: there, only their number is compared.
            clip_ids: of the data.

        Raises:
            InputError: other classes, or none of the clips is in the store.
        """
        stored = self._store.vocabulary_hash
        if len(vocabulary) != self.n_classes:
            raise InputError(
                f"{self.path} holds logits of {self.n_classes} classes, the data has "
                f"{len(vocabulary)} ({vocabulary.name}): use logits of the same classes"
            )
        if stored is not None and stored != vocabulary.hash:
            raise InputError(
                f"{self.path} holds logits of other classes, or in another order, than "
                f"{vocabulary.name}: use logits of the data's vocabulary"
            )
        counts = self.coverage(clip_ids)
        n_clips = sum(counts.values())
        if counts[MISS] == n_clips:
            raise InputError(
                f"{self.path} has logits of none of the {n_clips} clips; its ids look "
                f"like {self._store.ids()[:1]}, the data's like {list(clip_ids[:1])}"
            )
        found = ", ".join(f"{count} {how}" for how, count in counts.items())
        log = logger.warning if counts[MISS] else logger.info
        log("teacher logits for %d clips: %s", n_clips, found)


class _FolderStore:
    """A finished folder of `TeacherLogitsWriter`."""

    def __init__(self, folder: Path):
        self._folder = folder
        description = read_description(folder)
        if not description["finished"]:
            raise InputError(
                f"{folder} is not finished (complete teachers: "
                f"{description['teachers'] or 'none'}): run the ensemble stage to its end"
            )
        self.shape = tuple(description["shape"])
        self.vocabulary_hash = description["vocabulary"]["hash"]
        file = folder / LOGITS
        expected = 2 * math.prod(self.shape)
        size = file.stat().st_size if file.exists() else 0
        if size != expected or len(self.ids()) != self.shape[0]:
            raise InputError(
                f"{file} or {IDS} does not fit {DESCRIPTION} ({size} of {expected} "
                "bytes): copy the folder again, or write it anew"
            )
        self._logits = None

    def ids(self) -> list[str]:
        return json.loads((self._folder / IDS).read_text(encoding="utf-8"))

    def read(self, row: int) -> np.ndarray:
        logits = self._logits
        if logits is None:
            file = self._folder / LOGITS
            self._logits = logits = np.memmap(file, "<f2", "r", shape=self.shape)
        return np.array(logits[row])

    def __getstate__(self):
        return {**self.__dict__, "_logits": None}


class _Hdf5Store:
    """The published layout: `filenames [n]`, `strong_logits [n, c, t]`."""

    vocabulary_hash = None

    def __init__(self, file: Path):
        self._path = file
        self._file = None
        self._lock = threading.Lock()
        try:
            shape = self._open()["strong_logits"].shape
            n_ids = self._open()["filenames"].shape[0]
        except KeyError as error:
            raise InputError(
                f"{file}: expected the data sets filenames and strong_logits, the file "
                f"holds {', '.join(self._open()) or 'none'}"
            ) from error
        if len(shape) != 3 or n_ids != shape[0]:
            raise InputError(
                f"{file}: expected strong_logits [clips, classes, frames] and as many "
                f"filenames, got {shape} and {n_ids}"
            )
        self.shape = (shape[0], shape[2], shape[1])

    def _open(self):
        if self._file is None:
            try:
                import h5py
            except ImportError as error:
                raise InputError(
                    f"reading {self._path} needs h5py: pip install 'jaxsed[hdf5]'"
                ) from error
            try:
                self._file = h5py.File(self._path, "r")
            except OSError as error:
                reason = "not an HDF5 file" if self._path.exists() else "no such file"
                raise InputError(
                    f"teacher logits {self._path}: {reason}; expected a folder with "
                    f"{DESCRIPTION} or an HDF5 with filenames and strong_logits"
                ) from error
        return self._file

    def ids(self) -> list[str]:
        names = self._open()["filenames"][:]
        return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for n in names]

    def read(self, row: int) -> np.ndarray:
        with self._lock:
            try:
                logits = self._open()["strong_logits"][row]
            except OSError as error:
                raise InputError(
                    f"{self._path}: strong_logits cannot be read at row {row}; the file "
                    "is damaged, fetch it again"
                ) from error
        return np.ascontiguousarray(logits.T, dtype=np.float16)

    def __getstate__(self):
        return {**self.__dict__, "_file": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())
