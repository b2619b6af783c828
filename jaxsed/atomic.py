"""Files that are whole or not there at all, whatever happens while they are written."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from jaxsed.errors import InputError


@contextlib.contextmanager
def replacing(
    path: Path, durable: bool = True, sole_writer: bool = False
) -> Iterator[Path]:
    """Gives a path beside `path`; what is written to it moves there if the block succeeds.

    Args:
      path: Where the file belongs; what is there stays until the new one is whole.
      durable: Wait until the content is on the disk. Without, a computer that loses its
        power may leave an empty file; a killed process does not.
      sole_writer: No other process writes the file at the same time. Then the path beside
        it is always the same, and what a killed process left is overwritten by the next.

    Raises:
      OSError: The disk is full, the folder is read-only, and so on.
    """
    # Not the name itself, which may be as long as the system allows; nor the process id:
    # in containers every host's process may have number 1.
    mark = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    once = "" if sole_writer else f".{uuid.uuid4().hex}"
    beside = path.with_name(f".{mark}{once}.tmp")
    try:
        yield beside
        if durable:
            with open(beside, "r+b") as file:
                os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str, parents: bool = False) -> None:
    """Writes a file with this content, durably, whole or not at all.

    Args:
      path: Where to; several processes may write it, and the last one's stays.
      content: Text is written as UTF-8.
      parents: Make the folders above it that are not there.

    Raises:
      InputError: The disk is full, the folder is read-only, and so on.
    """
    if isinstance(content, str):
        content = content.encode("utf-8")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
