"""What the functions and classes named in a checkpoint's pickle mean to us.

The names are looked up in the tables below and nowhere else: whatever is not in them
becomes a placeholder.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxsed.weights import torch_tensors
from jaxsed.weights.torch_content import BrokenFileError, Placeholder

# Numbers only: arrays of text or of objects stay placeholders.
_NUMPY_DTYPE = re.compile(r"[iu][1248]|f[248]|c(8|16)|b1")
_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


class NotOursError(Exception):
    """These arguments describe something that stays a placeholder."""


class PendingArray(Placeholder):
    """A numpy array of which only the class is known yet; its state makes it an array.

    Attributes:
      memo_keys: Where the memo holds it and is to hold the array.
    """

    __slots__ = ("memo_keys",)

    def __init__(self):
        super().__init__("numpy", "ndarray")
        self.memo_keys: list[int] = []

    def array(self, state: Any) -> np.ndarray | None:
        """Returns the array of numbers that `state` describes, None for another kind.

        Args:
          state: Version, shape, dtype, whether in Fortran order, bytes (numpy's
            `array_setstate`).
        """
        match state:
            case (int(), tuple() as shape, Placeholder() as dtype, fortran, content):
                known = _numpy_dtype(dtype)
            case _:
                return None
        if known is None or not isinstance(content, (bytes, bytearray)):
            return None
        sizes = all(type(n) is int and n >= 0 for n in shape)
        if not sizes or len(shape) > torch_tensors.MAX_AXES:
            raise BrokenFileError("a numpy array in it has a meaningless shape")
        flat = np.frombuffer(content, known)
        return flat.reshape(shape, order="F" if fortran else "C")


def key_of(value: Any) -> Any:
    """Returns what may be a key or a member of a set in place of `value`.

    Hashing is the one thing that containers do to what is in them. It recurses into
    tuples, and thousands of tuples of -1 and -2 have the same hash, which makes a dict of
    them take minutes: anything but single values is wrapped.
    """
    if isinstance(value, int):
        whole = abs(value) < 2**64
    else:
        whole = value is None or isinstance(value, (str, bytes, float, Placeholder))
    return value if whole else Placeholder("builtins", "object", (value,))


def call(function: Placeholder, args: Any, spend: Callable[[int], None]) -> Any:
    """Returns what a call of a named function would have given, without calling it.

    Args:
      function: The name.
      args: A tuple, whatever the file says.
      spend: Told of bytes before they are allocated.

    Returns:
      Plain data, an array, or a placeholder.

    Raises:
      BrokenFileError: A tensor or array that its arguments cannot describe.
    """
    if type(args) is not tuple:
        raise BrokenFileError("its pickle calls something without arguments")
    name = (function.module, function.name)
    try:
        if name == ("_codecs", "encode"):
            return _encode(args, spend)
        if name in _OF_DEVICES and len(args) == 4:
            return _device_tensor(args, spend)
        if name in _MEANINGS:
            return _MEANINGS[name](*args)
    except (NotOursError, TypeError):  # TypeError: another number of arguments
        pass
    return Placeholder(*name, args)


def _encode(args: tuple, spend: Callable[[int], None]) -> bytes:
    # How protocol 2, torch's, writes bytes.
    match args:
        case (str() as text, "latin1" | "latin-1"):
            spend(len(text))
            return text.encode("latin-1")
    raise NotOursError


def _dict(*args):
    match args:
        case ():
            return {}
        case (list() as pairs,):  # how Python 2 wrote an OrderedDict
            if all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
                return {key_of(key): value for key, value in pairs}
    raise NotOursError


def _default_dict(*args):
    return _dict(*args[1:])  # without what makes the defaults


def _set(*args):
    match args:
        case (list() as members,):
            return {key_of(member) for member in members}
        case ():
            return set()
    raise NotOursError


def _frozen_set(*args):
    return frozenset(_set(*args))


def _size(*args):
    match args:
        case (tuple() | list() as sizes,) if all(type(n) is int for n in sizes):
            return tuple(sizes)
    raise NotOursError


def _tensor(storage, offset, size, stride, *more):
    """`torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`."""
    if not isinstance(storage, torch_tensors.Storage):
        raise NotOursError  # quantised, on the meta device, ...
    if _is_lazy(*more[2:3]):  # after `requires_grad` and hooks
        raise NotOursError
    return torch_tensors.tensor(storage, offset, size, stride)


def _is_lazy(metadata: Any = None) -> bool:
    """Whether numbers mean their negative or conjugate (`get_tensor_metadata`)."""
    return isinstance(metadata, dict) and any(map(metadata.get, ("neg", "conj")))


def _tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype, *_):
    """`torch._utils._rebuild_tensor_v3`: types that have no storage class."""
    if not isinstance(storage, torch_tensors.Storage):
        raise NotOursError
    return torch_tensors.tensor(storage, offset, size, stride, _torch_dtype(dtype))


def _torch_dtype(named: Any) -> np.dtype:
    known = isinstance(named, Placeholder) and named.module == "torch"
    if not known or named.name not in torch_tensors.TENSOR_DTYPES:
        raise NotOursError
    return torch_tensors.TENSOR_DTYPES[named.name]


def _device_tensor(args: tuple, spend: Callable[[int], None]) -> np.ndarray:
    """Data, type, device, whether it has a gradient: see `_OF_DEVICES`."""
    data, dtype = args[0], _torch_dtype(args[1])
    if isinstance(data, np.ndarray) and data.dtype == dtype:
        return data
    # NumPy alone has no bfloat16: it comes as float32 that was rounded to it.
    is_wider = isinstance(data, np.ndarray) and data.dtype == np.float32
    if not is_wider or dtype != torch_tensors.TENSOR_DTYPES["bfloat16"]:
        raise NotOursError
    spend(data.size * dtype.itemsize)
    array = data.astype(dtype)
    array.flags.writeable = False
    return array


def _parameter(data, *_):
    if not isinstance(data, np.ndarray):
        raise NotOursError
    return data


def _from_type(function, cls, args, *_):
    """`torch._tensor._rebuild_from_type_v2`: a tensor that carries attributes."""
    name = isinstance(function, Placeholder) and (function.module, function.name)
    if name not in _TENSORS or type(args) is not tuple:
        raise NotOursError
    return _TENSORS[name](*args)


def _numpy_dtype(described: Placeholder) -> np.dtype | None:
    if (described.module, described.name) != ("numpy", "dtype"):
        return None
    match described.args:
        case (str() as code, *_) if _NUMPY_DTYPE.fullmatch(code):
            dtype = np.dtype(code)
        case _:
            return None
    match described.state:
        case (_, "<" | ">" | "|" as order, *_):
            return dtype.newbyteorder(order)
    return dtype


def _numpy_scalar(dtype, content):
    known = isinstance(dtype, Placeholder) and _numpy_dtype(dtype)
    if not known or type(content) is not bytes or len(content) != known.itemsize:
        raise NotOursError
    return np.frombuffer(content, known)[0].item()


def _numpy_array(cls, *_):
    if not isinstance(cls, Placeholder) or cls.name != "ndarray":
        raise NotOursError
    return PendingArray()


_TENSORS: dict[tuple[str, str], Callable] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _device_tensor,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _device_tensor,
    (
        "torch._utils",
        "_rebuild_xla_tensor",
    ): _device_tensor,  # an earlier name of the last
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
}
# How tensors are saved from devices whose memory has no storage classes: TPUs (XLA),
# Gaudi, DirectML. The last is an earlier name of the second.
_OF_DEVICES = {
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("torch._utils", "_rebuild_xla_tensor"),
}
_MEANINGS: dict[tuple[str, str], Callable] = {
    **_TENSORS,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch", "Size"): _size,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _default_dict,
    ("builtins", "dict"): _dict,
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): _frozen_set,
    ("__builtin__", "set"): _set,
    ("__builtin__", "frozenset"): _frozen_set,
    **{(module, "scalar"): _numpy_scalar for module in _NUMPY_MODULES},
    **{(module, "_reconstruct"): _numpy_array for module in _NUMPY_MODULES},
}
