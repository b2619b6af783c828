"""The ensemble's logits as they were published with PretrainedSED: an HDF5 file."""

import hashlib
import threading
from pathlib import Path

import numpy as np

from jaxsed.data.teacher_store import DESCRIPTION
from jaxsed.errors import InputError

_AXES = {
    "strong_logits": ("clips", "classes", "frames"),
    "clip_logits": ("clips", "classes"),
}


class Hdf5Logits:
    """The published layout: `filenames [n]`, `strong_logits [n, c, t]`.

    Of whole clips: `clip_logits [n, c]`.

    Args:
        file: the HDF5 file.

    Attributes:
        shape: clips, label frames (1 where logits are of whole clips), classes.
        vocabulary_hash: None; the file does not say of which classes it is.
        slices: None; every clip is a row.

    Raises:
        InputError: there is no such file, it holds something else, or h5py is missing.
    """

    vocabulary_hash = None
    slices = None

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
        expected = _AXES[self._name]
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
        """Returns the clips' ids, cut short as they were published."""
        names = self._open()["filenames"][:]
        return [n.decode("utf-8") if isinstance(n, bytes) else str(n) for n in names]

    def hash(self) -> str:
        """Returns a sha256, in hex, of shape, ids and some of the logits.

        Of all logits it would take minutes; those of another ensemble differ everywhere.
        """
        digest = hashlib.sha256(repr((self.shape, self.ids())).encode())
        for row in sorted({0, self.shape[0] // 2, self.shape[0] - 1}):
            digest.update(self.read(row).tobytes())
        return digest.hexdigest()

    def read(self, row: int) -> np.ndarray:
        """Returns the logits of a row, float16 `[t, c]`.

        Raises:
            InputError: the file is damaged there.
        """
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
