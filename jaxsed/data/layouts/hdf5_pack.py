"""Many mp3 files in one HDF5 file, as the scripts of PaSST pack AudioSet.

    audio_name   [n]       bytes, e.g. b"Y--PJHxphWEs.mp3" or b"07/Y--PJHxphWEs.mp3"
    mp3          [n]       variable-length uint8: the file as it was
    target       [n, 66]   uint8: 527 labels, packed by `numpy.packbits`

(kkoutini/PaSST `audioset/prepare_scripts/create_h5pymp3_dataset.py`.)
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from jaxsed.data.layouts.audio_source import AudioSource, PackFile, ReadPlace
from jaxsed.data.layouts.matching import Found, without_y
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import composed

_ROWS_AT_ONCE = 16_384
# What h5py raises where a file is damaged inside.
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError)


@dataclasses.dataclass(frozen=True)
class Hdf5Pack(PackFile):
    """The container of sounds that is the data set `mp3`; a place is a row."""

    @contextlib.contextmanager
    def open(self) -> Iterator[ReadPlace]:
        """Opens the file.

        Raises:
          InputError: It cannot be read, or h5py is missing.
        """
        with open_hdf5(self.path) as file:
            sounds = _sounds(file, self.path)

            def read(row: int) -> bytes:
                try:
                    return sounds[row].tobytes()
                except _DAMAGE as error:
                    raise OSError(f"cannot be read ({_one_line(error)})") from error

            yield read

    def sounds(self) -> Iterator[Found]:
        """Yields the name of every sound, without folder, ending and `Y`; "" if broken.

        Raises:
          InputError: The file cannot be read, or is not such a pack.
        """
        with open_hdf5(self.path) as file:
            n_rows = len(_sounds(file, self.path))
            names = _blocks(file, self.path, "audio_name", (n_rows,), "SO")
            for row, name in enumerate(name for block in names for name in block):
                yield _stem(name), AudioSource(self, row)

    def labels(self, n_classes: int) -> Iterator[list[int]]:
        """Yields the classes of every row.

        Raises:
          InputError: The file cannot be read, or `target` has another form.
        """
        with open_hdf5(self.path) as file:
            n_rows = len(_sounds(file, self.path))
            shape = n_rows, -(-n_classes // 8)
            for packed in _blocks(file, self.path, "target", shape, "B"):
                rows, classes = np.nonzero(np.unpackbits(packed, axis=1))
                bounds = np.searchsorted(rows, np.arange(1, len(packed)))
                yield from (part.tolist() for part in np.split(classes, bounds))


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator:
    """Opens an HDF5 file for reading.

    Raises:
      InputError: It cannot be read, is cut off, or h5py is missing.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"reading {path} needs h5py: pip install 'jaxsed[hdf5]'"
        ) from error
    try:
        # Locks fail on many network file systems, and nothing is written here.
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise InputError(
            f"{path} is not a whole HDF5 file ({_one_line(error)}); copy it again, or "
            "remove it"
        ) from error
    with file:
        yield file


def _sounds(file, path: Path):
    import h5py

    sounds = _data_set(file, path, "mp3")
    if h5py.check_vlen_dtype(sounds.dtype) != np.uint8 or sounds.ndim != 1:
        raise InputError(
            f"{path}: mp3 is {sounds.dtype} {list(sounds.shape)}; expected "
            "variable-length uint8, one sound file a row"
        )
    return sounds


def _blocks(
    file, path: Path, name: str, shape: tuple[int, ...], type_codes: str
) -> Iterator[np.ndarray]:
    """Yields the rows of a data set, many at once; type codes as numpy has them."""
    data_set = _data_set(file, path, name)
    if data_set.shape != shape or data_set.dtype.char not in type_codes:
        raise InputError(
            f"{path}: {name} is {data_set.dtype} {list(data_set.shape)}; expected "
            f"{'uint8' if type_codes == 'B' else 'names'} {list(shape)}"
        )
    for start in range(0, len(data_set), _ROWS_AT_ONCE):
        try:
            yield data_set[start : start + _ROWS_AT_ONCE]
        except _DAMAGE as error:
            raise InputError(
                f"{path}: {name} is damaged after row {start} ({_one_line(error)}); "
                "copy the file again"
            ) from error


def _data_set(file, path: Path, name: str):
    import h5py

    try:
        data_set = file.get(name)
    except _DAMAGE as error:
        raise InputError(
            f"{path}: {name} is damaged ({_one_line(error)}); copy the file again"
        ) from error
    if not isinstance(data_set, h5py.Dataset):
        raise InputError(
            f"{path}: no data set {name!r}; found {', '.join(file) or 'nothing'} "
            "(expected audio_name, mp3 and target, as PaSST's scripts write them)"
        )
    return data_set


def _stem(name: bytes | str) -> str:
    try:
        text = name.decode("utf-8") if isinstance(name, bytes) else str(name)
    except UnicodeDecodeError:
        return ""
    return without_y(composed(PurePosixPath(text).stem))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
