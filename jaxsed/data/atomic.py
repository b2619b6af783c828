"""Files that are whole or not there at all, whatever happens while they are written."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jaxsed.errors import InputError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Opens a file beside `path` to be written; moves it there if the block succeeds.

    Raises:
      InputError: The disk is full, the folder is read-only, and so on.
    """
    # Not by process id: in containers every host's process may have number 1.
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file with this content, whole or not at all.

    Raises:
      InputError: As `replacing`.
    """
    with replacing(path) as file:
        file.write(content)
