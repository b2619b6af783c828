"""Writes a checkpoint that `torch.load(..., weights_only=True)` reads, without PyTorch.

The archive and its pickle are those of `torch.save` (PyTorch 1.6 and above): stored
entries whose bytes begin at multiples of 64, so that they can be mapped into memory.
"""

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.atomic import replacing
from jaxsed.errors import InputError
from jaxsed.weights.torch_tensors import STORAGE_DTYPES

ALIGNMENT_BYTES = 64
FORMAT_VERSION = b"3\n"
_FOLDER = "archive"
_PADDING_FIELD = 0x4246  # "FB", as PyTorch marks the padding of an entry's header
_HEADER_BYTES = 30  # of an entry, before its name
_ZIP64_FIELD_BYTES = 20
_BLOCK_BYTES = 2**22
# The first class of a type is the one without quantisation.
_CLASSES = {dtype: name for name, dtype in reversed(STORAGE_DTYPES.items())}


def write(path: Path | str, state_dict: Mapping[str, Any]) -> None:
    """Writes a state dict, complete or not at all.

    Keys that hold the same array share one storage in the file, as tied weights do. No
    more than one array is copied at a time, and only if it is not contiguous.

    Args:
      path: Where to; a file there is replaced when the new one is complete.
      state_dict: Arrays by key, numpy or jax, in the order they are to have.

    Raises:
      InputError: A key is not text, PyTorch has no such type, or the file cannot be
        written.
    """
    path = Path(path)
    arrays = {key: _checked(key, array) for key, array in state_dict.items()}
    try:
        with replacing(path) as beside, zipfile.ZipFile(beside, "w") as archive:
            _write_entries(archive, arrays)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _checked(key: Any, array: Any) -> np.ndarray:
    if not isinstance(key, str):
        raise InputError(f"a state dict's keys are text; got {key!r}")
    array = np.asarray(array)
    if array.dtype.newbyteorder("=") not in _CLASSES:
        raise InputError(f"{key}: PyTorch has no tensors of type {array.dtype}")
    return array


def _write_entries(archive: zipfile.ZipFile, arrays: Mapping[str, np.ndarray]) -> None:
    storages: dict[Any, int] = {}  # identity of an array -> its number
    numbers = {
        key: storages.setdefault(_identity(array), len(storages))
        for key, array in arrays.items()
    }
    _write_entry(archive, "data.pkl", [_pickle(arrays, numbers)])
    _write_entry(archive, "byteorder", [b"little"])
    written = set()
    for key, array in arrays.items():
        if numbers[key] not in written:
            written.add(numbers[key])
            _write_entry(archive, f"data/{numbers[key]}", _blocks(array), array.nbytes)
    _write_entry(archive, "version", [FORMAT_VERSION])


def _identity(array: np.ndarray) -> tuple:
    described = array.__array_interface__
    return described["data"][0], array.shape, array.strides, array.dtype.str


def _blocks(array: np.ndarray) -> Iterator[memoryview]:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    content = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
    for start in range(0, len(content), _BLOCK_BYTES):
        yield memoryview(content[start : start + _BLOCK_BYTES])


def _write_entry(archive, name, blocks, n_bytes=0) -> None:
    """Appends an entry whose bytes begin at a multiple of `ALIGNMENT_BYTES`."""
    info = zipfile.ZipInfo(f"{_FOLDER}/{name}")  # dated 1980: same content, same file
    is_large = n_bytes > zipfile.ZIP64_LIMIT // 2
    header = _HEADER_BYTES + len(info.filename) + _ZIP64_FIELD_BYTES * is_large
    start = archive.start_dir + header + 4  # 4: the padding's own mark and length
    padding = -start % ALIGNMENT_BYTES
    info.extra = struct.pack("<HH", _PADDING_FIELD, padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=is_large) as entry:
        for block in blocks:
            entry.write(block)


# Opcodes of protocol 2, which is torch.save's; see the standard library's `pickletools`.


def _pickle(arrays: Mapping[str, np.ndarray], numbers: Mapping[str, int]) -> bytes:
    """`OrderedDict` of tensors, each as `torch._utils._rebuild_tensor_v2` takes it."""
    parts = [b"\x80\x02", _ordered_dict(), b"("]
    for key, array in arrays.items():
        parts += [_text(key), _tensor(array, str(numbers[key]))]
    return b"".join([*parts, b"u."])


def _tensor(array: np.ndarray, storage_key: str) -> bytes:
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    storage = [
        _text("storage"),
        _global("torch", _CLASSES[array.dtype.newbyteorder("=")]),
        _text(storage_key),
        _text("cpu"),
        _int(array.size),
    ]
    args = [
        _tuple(storage) + b"Q",  # a persistent id
        _int(0),  # offset
        _tuple([_int(size) for size in array.shape]),
        _tuple([_int(stride) for stride in strides]),
        b"\x89",  # requires_grad: False
        _ordered_dict(),  # backward hooks
    ]
    return _global("torch._utils", "_rebuild_tensor_v2") + _tuple(args) + b"R"


def _ordered_dict() -> bytes:
    return _global("collections", "OrderedDict") + b")R"


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode("ascii")


def _tuple(items: list[bytes]) -> bytes:
    return b"(" + b"".join(items) + b"t"


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _int(number: int) -> bytes:
    if number < 2**31:
        return b"J" + struct.pack("<i", number)
    return b"\x8a\x08" + struct.pack("<q", number)
