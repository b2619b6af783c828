"""Writes `.safetensors` one tensor at a time.

The library's own writer takes all tensors at once and makes a second copy of them. The
bytes are the same: a test compares them.
"""

import hashlib
import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
_BLOCK_BYTES = 2**22


def is_storable(dtype: np.dtype) -> bool:
    """Says whether tensors of this type can be written."""
    return np.dtype(dtype).name in _CODES


def write(path: Path, tensors: Mapping[str, Any]) -> str:
    """Writes a new file and waits until it is on the disk.

    Args:
        path: Where to.
        tensors: By name, anything with `shape` and `dtype` that `numpy.asarray` takes;
            it is taken when its turn comes and let go after that.

    Returns:
        The file's sha256, hex.
    """
    # The library's order: wide types first, so that all lie aligned, then by name.
    names = sorted(tensors, key=lambda name: (-_width(tensors[name]), name))
    entries, end = {}, 0
    for name in names:
        shape = [int(size) for size in tensors[name].shape]
        start, end = end, end + math.prod(shape) * _width(tensors[name])
        code = _CODES[np.dtype(tensors[name].dtype).name]
        entries[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:

        def put(block):
            file.write(block)
            digest.update(block)

        put(struct.pack("<Q", len(header)))
        put(header)
        for name in names:
            for block in _blocks(tensors[name]):
                put(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _width(tensor) -> int:
    return np.dtype(tensor.dtype).itemsize


def _blocks(tensor):
    array = np.asarray(tensor)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    content = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
    for start in range(0, len(content), _BLOCK_BYTES):
        yield content[start : start + _BLOCK_BYTES].data
