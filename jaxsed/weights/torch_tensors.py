"""PyTorch's storages and tensors as numpy arrays: views, never copies, of a file's bytes.

Names follow `torch/storage.py` (storage classes) and `torch/_utils.py` (what a pickled
tensor is rebuilt from).
"""

import dataclasses
import math

import ml_dtypes
import numpy as np

from jaxsed.weights.torch_content import BrokenFileError

# Storage class in the modules `torch` and `torch.cuda` -> type of its elements.
STORAGE_DTYPES = {
    name: np.dtype(dtype)
    for name, dtype in {
        "DoubleStorage": np.float64,
        "FloatStorage": np.float32,
        "HalfStorage": np.float16,
        "BFloat16Storage": ml_dtypes.bfloat16,
        "LongStorage": np.int64,
        "IntStorage": np.int32,
        "ShortStorage": np.int16,
        "CharStorage": np.int8,
        "ByteStorage": np.uint8,
        "BoolStorage": np.bool_,
        "ComplexFloatStorage": np.complex64,
        "ComplexDoubleStorage": np.complex128,
        "UntypedStorage": np.uint8,
        # Quantised: nothing here makes tensors of them, but their length must be known.
        "QInt8Storage": np.int8,
        "QUInt8Storage": np.uint8,
        "QInt32Storage": np.int32,
        "QUInt4x2Storage": np.uint8,
        "QUInt2x4Storage": np.uint8,
    }.items()
}
# `torch.<name>` -> numpy type, of tensors that have an untyped storage.
TENSOR_DTYPES = {
    name: np.dtype(getattr(ml_dtypes, name, None) or name)
    for name in (
        *("float64", "float32", "float16", "bfloat16", "complex64", "complex128"),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
        *("bool", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
}
# Tensors that repeat elements (`expand`) may be larger than what they are stored as;
# more than this and their copies would fill the memory.
MAX_REPEATED_ELEMENTS = 2**20
MAX_AXES = 32


@dataclasses.dataclass(frozen=True)
class Storage:
    """The memory that tensors are views of.

    Attributes:
      content: uint8 [bytes], in this machine's byte order.
      dtype: Type of its elements; uint8 if untyped.
    """

    content: np.ndarray
    dtype: np.dtype


def in_native_order(content: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Reverses the bytes, uint8 [bytes], of every number of type `dtype`."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    if len(content) % width:
        raise BrokenFileError("a storage in it ends within a number")
    return np.ascontiguousarray(content.reshape(-1, width)[:, ::-1]).reshape(-1)


def tensor(storage, offset, size, stride, dtype=None) -> np.ndarray:
    """Makes the array that a pickled tensor describes.

    Args:
      storage: A `Storage`.
      offset: Of the first element, in elements.
      size: Shape.
      stride: Step along each axis, in elements.
      dtype: Type of the elements if not the storage's own.

    Returns:
      A view of the storage.

    Raises:
      BrokenFileError: Some element would lie outside the storage, or these are not numbers.
    """
    dtype = storage.dtype if dtype is None else dtype
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise BrokenFileError("a tensor in it has a negative or meaningless shape")
    if len(size) != len(stride) or len(size) > MAX_AXES:
        raise BrokenFileError(
            "a tensor in it has a shape that does not fit its strides"
        )
    stored = len(storage.content) // dtype.itemsize
    n_elements = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride))
    if n_elements and (
        last >= stored or n_elements > max(stored, MAX_REPEATED_ELEMENTS)
    ):
        raise BrokenFileError(
            f"a tensor of shape {tuple(size)} in it reaches beyond the {stored} elements "
            "that are stored for it"
        )
    if n_elements == 0:
        if max(size) > stored + MAX_REPEATED_ELEMENTS:
            raise BrokenFileError("an empty tensor in it has a meaningless shape")
        return np.empty(size, dtype)
    return np.ndarray(
        size,
        dtype,
        buffer=storage.content,
        offset=offset * dtype.itemsize,
        strides=tuple(step * dtype.itemsize for step in stride),
    )
