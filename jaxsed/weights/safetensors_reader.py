"""A `.safetensors` file as arrays that view it.

Eight bytes with the length of a JSON header, the header (type, shape and place of each
tensor), then the tensors (github.com/huggingface/safetensors, "Format").
"""

import json
import math
import struct
from typing import Any

import numpy as np

from jaxsed.weights.torch_content import BrokenFileError
from jaxsed.weights.torch_tensors import TENSOR_DTYPES, Storage, tensor

MAX_HEADER_BYTES = 16 * 2**20
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "C64": "complex64",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


def is_safetensors(head: bytes) -> bool:
    """Says whether a file that begins with `head` is one."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    return struct.unpack_from("<Q", head)[0] <= MAX_HEADER_BYTES


def read(buffer) -> dict[str, np.ndarray]:
    """Returns the tensors of a mapped file by name.

    Raises:
      BrokenFileError: The header is not what the format says, or the file is cut off.
    """
    (n_header,) = struct.unpack_from("<Q", buffer)
    if 8 + n_header > len(buffer):
        raise BrokenFileError("it is cut off, as by a download that did not finish")
    try:
        header = json.loads(buffer[8 : 8 + n_header])
    except ValueError:
        raise BrokenFileError("its header is not JSON") from None
    content = np.frombuffer(buffer, np.uint8)[8 + n_header :]
    if not isinstance(header, dict):
        raise BrokenFileError("its header lists no tensors")
    header.pop("__metadata__", None)
    return {name: _tensor(name, entry, content) for name, entry in header.items()}


def _tensor(name: str, entry: Any, content: np.ndarray) -> np.ndarray:
    match entry:
        case {"dtype": str() as code, "shape": list() as shape, "data_offsets": [a, b]}:
            pass
        case _:
            raise BrokenFileError(f"its header does not describe {name[:100]!r}")
    if code not in _DTYPES:
        raise BrokenFileError(
            f"{name[:100]!r} in it has the unknown type {code[:20]!r}"
        )
    dtype = TENSOR_DTYPES[_DTYPES[code]]
    numbers = [a, b, *shape]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise BrokenFileError(f"{name[:100]!r} in it has a meaningless shape")
    if b > len(content):
        raise BrokenFileError("it is cut off, as by a download that did not finish")
    if b - a != math.prod(shape) * dtype.itemsize:
        raise BrokenFileError(f"{name[:100]!r} in it is not as long as its shape")
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return tensor(Storage(content[a:b], dtype), 0, shape, strides)
