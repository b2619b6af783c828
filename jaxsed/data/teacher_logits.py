"""Logits of a teacher (or the mean of several) for every training clip, on disk.

Read: `TeacherLogits`, from a store written here (`jaxsed.data.teacher_store` says how it
lies on disk) or from the HDF5 published with PretrainedSED.
"""

import collections
import json
import logging
import threading
from pathlib import Path

import numpy as np

from jaxsed.data.clip_ids import EXACT, RESPELLED, TRUNCATED, ClipIds
from jaxsed.data.row_shards import RowReader
from jaxsed.data.teacher_store import DESCRIPTION, IDS, MEAN_DTYPE, TeacherStore
from jaxsed.errors import InputError

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
            `strong_logits [clips, c, t]` or `clip_logits [clips, c]` (needs h5py).

    Attributes:
        n_frames: label frames of 40 ms per clip; 1 where logits are of whole clips.
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
        if len(self._ids) != self.n_clips:
            raise InputError(
                f"{self.path} has {len(self._ids)} ids for the logits of {self.n_clips} "
                "clips: copy it again, or write it anew"
            )
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
        """Returns the clip's logits, float16 `[t, c]`, read-only; None if it has none.

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
            found[1] if found else MISS for found in self._ids.find_all(clip_ids)
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
        self._store = store = TeacherStore.read(folder)
        self._rows = RowReader(store)
        self.shape = store.shape
        self.vocabulary_hash = store.vocabulary["hash"]

    def ids(self) -> list[str]:
        file = self._store.folder / IDS
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} is missing or damaged ({error})") from error

    def read(self, row: int) -> np.ndarray:
        logits = np.frombuffer(self._rows.read(row), MEAN_DTYPE)
        return logits.reshape(self._store.clip_shape)


_HDF5_AXES = {
    "strong_logits": ("clips", "classes", "frames"),
    "clip_logits": ("clips", "classes"),
}


class _Hdf5Store:
    """The published layout: `filenames [n]`, `strong_logits [n, c, t]`.

    Of whole clips: `clip_logits [n, c]`.
    """

    vocabulary_hash = None

    def __init__(self, file: Path):
        self._path = file
        self._file = None
        self._lock = threading.Lock()
        self._name = "clip_logits" if "clip_logits" in self._open() else "strong_logits"
        try:
            shape = self._open()[self._name].shape
            n_ids = self._open()["filenames"].shape[0]
        except KeyError as error:
            raise InputError(
                f"{file}: expected the data sets filenames and strong_logits (or "
                f"clip_logits), the file holds {', '.join(self._open()) or 'none'}"
            ) from error
        expected = _HDF5_AXES[self._name]
        if len(shape) != len(expected) or n_ids != shape[0]:
            raise InputError(
                f"{file}: expected {self._name} [{', '.join(expected)}] and as many "
                f"filenames, got {shape} and {n_ids}"
            )
        n_clips, n_classes, *n_frames = shape
        self.shape = (n_clips, *(n_frames or [1]), n_classes)

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
                logits = self._open()[self._name][row]
            except OSError as error:
                raise InputError(
                    f"{self._path}: {self._name} cannot be read at row {row}; the file is "
                    "damaged, fetch it again"
                ) from error
        frames = logits.reshape(self.shape[2], self.shape[1]).T
        return np.ascontiguousarray(frames, dtype=np.float16)

    def __getstate__(self):
        return {**self.__dict__, "_file": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state, _lock=threading.Lock())
