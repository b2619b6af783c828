"""Reads checkpoints that PyTorch wrote, without PyTorch and without running anything.

`.pt`, `.pth` and `.ckpt` in the zip format and in the older one, Lightning's included,
and `.safetensors`. Tensors come as numpy arrays that view the mapped file: opening a
checkpoint reads a few kilobytes of it, and only what is used is read after that.
"""

import dataclasses
import mmap
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.weights import other_files, safetensors_reader, torch_pickle
from jaxsed.weights.torch_content import (
    BrokenFileError,
    Placeholder,
    check_nesting,
)
from jaxsed.weights.torch_tensors import STORAGE_DTYPES, Storage, in_native_order
from jaxsed.weights.torch_zip import Archive

# What a file whose bytes make no sense can trip over on the way. None of these says
# anything to the person who gave it.
_BROKEN = (
    BrokenFileError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RecursionError,
    MemoryError,
    struct.error,
    zlib.error,
)
# Opcodes of the legacy format's first pickle: the number 0x1950a86a20f9469cfc6c
# (`torch/serialization.py`, MAGIC_NUMBER), in protocol 2 and above.
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001


@dataclasses.dataclass(frozen=True)
class TorchFile:
    """A checkpoint's content.

    Attributes:
      path: Of the file, which stays mapped for as long as an array lives.
      format: "zip", "legacy" or "safetensors".
      content: Dicts, lists, tuples, numbers, strings, and read-only numpy arrays. An
        OrderedDict is a dict, a torch.Size a tuple, a Parameter its array, and whatever
        is none of these a `torch_content.Placeholder`.
      foreign: Names of the classes and functions that placeholders stand for, sorted.
    """

    path: Path
    format: str
    content: Any
    foreign: tuple[str, ...]


def read(path: Path | str, verify: bool = False) -> TorchFile:
    """Opens a checkpoint.

    Nothing in the file is executed, imported or called, whatever it says, and the memory
    that it takes is bounded by the file's size.

    Args:
      path: Of a file that `torch.save` or `safetensors` wrote.
      verify: Whether to read all of it, and compare its tensors with the checksums that
        the zip format has (the others have none).

    Returns:
      The content; `torch_content.flatten` lists the arrays in it.

    Raises:
      InputError: No such file, not a checkpoint (and what it seems to be instead), cut
        off, damaged, or made to do harm.
    """
    path = Path(path)
    buffer = _map(path)
    try:
        kind, content = _content(buffer, verify)
        placeholders = check_nesting(content)
    except _BROKEN as error:
        reason = str(error) if isinstance(error, BrokenFileError) else "it is damaged"
        raise InputError(
            f"{path}: not a checkpoint that can be read: {reason}"
        ) from error
    names = {placeholder.qualified_name for placeholder in placeholders}
    return TorchFile(path, kind, content, tuple(sorted(names)))


def _map(path: Path):
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder; give the checkpoint file itself")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe, endless perhaps
        raise InputError(f"{path} is not a file; give a checkpoint's path")
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give a checkpoint's path") from None
    except ValueError:  # nothing to map
        raise InputError(f"{path} is empty; download it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def _content(buffer, verify: bool) -> tuple[str, Any]:
    head = buffer[:1024]
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        archive = Archive(buffer)
        content = _read_zip(archive)  # says what it is, if it is something else
        if verify:
            archive.verify()
        return "zip", content
    if head[:1] == b"\x80" and head[2:].startswith(_LEGACY_MAGIC):
        return "legacy", _read_legacy(buffer)
    if safetensors_reader.is_safetensors(head):
        return "safetensors", safetensors_reader.read(buffer)
    raise BrokenFileError(f"it seems to be {other_files.seems_to_be(head)}")


def _read_zip(archive: Archive) -> Any:
    pickles = [name for name in archive.names if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        described = other_files.archive_seems_to_be(archive.names)
        raise BrokenFileError(f"it seems to be {described}")
    folder = pickles[0].removesuffix("data.pkl")
    if f"{folder}constants.pkl" in archive.names:
        raise BrokenFileError(
            "it is a TorchScript archive, a program; in PyTorch, save the weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
        )
    is_swapped = (
        f"{folder}byteorder" in archive.names
        and archive.content(f"{folder}byteorder").tobytes() == b"big"
    )
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Any:
        described = _storage_reference(reference)
        if described is None:
            return Placeholder("torch", "storage", (reference,))
        key, dtype, n_elements = described
        if key not in storages:
            content = archive.content(f"{folder}data/{key}")
            if is_swapped:
                content = in_native_order(content, dtype)
            storages[key] = Storage(content, dtype)
        storage = storages[key]
        if n_elements * dtype.itemsize > len(storage.content):
            raise BrokenFileError(f"its storage {key!r} is shorter than it says")
        return Storage(storage.content, dtype)

    # No more than the interpreter would read, and a byte by which it knows.
    pickled = archive.content(pickles[0])[: torch_pickle.MAX_BYTES + 1].tobytes()
    return torch_pickle.load(torch_pickle.Opcodes(pickled), persistent)


def _read_legacy(buffer) -> Any:
    """The format before 1.6 (`torch/serialization.py`, `_legacy_save`).

    Pickles of the magic number, the protocol, facts about the machine, the object and
    the storages' keys; then each storage, its length in elements before it.
    """
    opcodes = torch_pickle.Opcodes(buffer)
    for expected in ("magic number", "protocol", "machine"):
        value = torch_pickle.load(opcodes, _no_reference)
        if expected == "protocol" and value != _LEGACY_PROTOCOL:
            raise BrokenFileError(f"it has the unknown format version {value!r:.20}")
    start = opcodes.tell()
    # A first reading tells what types the storages behind the pickle have.
    dtypes: dict[str, np.dtype] = {}
    first = torch_pickle.Opcodes(buffer, start)
    torch_pickle.load(first, lambda reference: _note_dtype(reference, dtypes))
    behind = torch_pickle.Opcodes(buffer, first.tell())
    keys = torch_pickle.load(behind, _no_reference)
    storages = _legacy_storages(buffer, behind.tell(), keys, dtypes)
    return torch_pickle.load(
        torch_pickle.Opcodes(buffer, start),
        lambda reference: _legacy_storage(reference, storages),
    )


def _legacy_storages(buffer, at, keys, dtypes) -> dict[str, Storage]:
    if not isinstance(keys, list) or len(set(keys)) < len(keys):
        raise BrokenFileError("its list of storages is damaged")
    storages = {}
    for key in keys:
        if key not in dtypes:
            raise BrokenFileError("it lists a storage that nothing in it uses")
        if at + 8 > len(buffer):
            raise BrokenFileError("it is cut off, as by a download that did not finish")
        (n_elements,) = struct.unpack_from("<q", buffer, at)
        n_bytes = n_elements * dtypes[key].itemsize
        at += 8
        if not 0 <= n_bytes <= len(buffer) - at:
            raise BrokenFileError("it is cut off, as by a download that did not finish")
        content = np.frombuffer(buffer, np.uint8, n_bytes, at)
        storages[key] = Storage(content, dtypes[key])
        at += n_bytes
    return storages


def _legacy_storage(reference: Any, storages: dict[str, Storage]) -> Any:
    described = _storage_reference(reference)
    if described is None:
        return _not_a_storage(reference)
    key, dtype, _ = described
    if key not in storages:
        raise BrokenFileError(f"its storage {key!r} is missing")
    content = storages[key].content
    match reference[5:]:
        case ((_, int() as offset, int() as n_elements),):  # a view of a storage
            start, end = (n * dtype.itemsize for n in (offset, offset + n_elements))
            if not 0 <= start <= end <= len(content):
                raise BrokenFileError("a storage in it reaches beyond another's end")
            content = content[start:end]
    return Storage(content, dtype)


def _note_dtype(reference: Any, dtypes: dict[str, np.dtype]) -> Any:
    described = _storage_reference(reference)
    if described is None:
        return _not_a_storage(reference)
    key, dtype, _ = described
    if dtypes.setdefault(key, dtype) != dtype:
        raise BrokenFileError(f"its storage {key!r} has two types")
    return Placeholder("torch", "storage")


def _storage_reference(reference: Any) -> tuple[str, np.dtype, int] | None:
    """Key, type and length of a storage; None if `reference` is none that we know.

    `("storage", class, key, device, length in elements, ...)`, see `persistent_id` in
    `torch/serialization.py`.
    """
    match reference:
        case (
            "storage",
            Placeholder() as kind,
            str() as key,
            _,
            int() as n_elements,
            *_,
        ):
            is_torch = kind.module in ("torch", "torch.cuda", "torch.storage")
            if is_torch and kind.name in STORAGE_DTYPES and n_elements >= 0:
                return key, STORAGE_DTYPES[kind.name], n_elements
    return None


def _not_a_storage(reference: Any) -> Any:
    match reference:
        case (
            "module",
            Placeholder() as cls,
            *_,
        ):  # a whole model: class and source code
            return cls
    return Placeholder("torch", "storage", (reference,))


def _no_reference(reference: Any) -> Any:
    raise BrokenFileError("its beginning is damaged")
