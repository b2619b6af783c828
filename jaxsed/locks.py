"""What one process at a time may write to: a folder of a run, a file in the making."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jaxsed.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

AVAILABLE = fcntl is not None
NAME = ".lock"

_held: dict[Path, IO[str]] = {}


class InUse(InputError):
    """Another process holds the lock."""


def hold(folder: Path) -> None:
    """Takes the lock of a folder for this process, until it ends, however it ends.

    Taking it again is no error.

    Args:
        folder: must be there; gets a file `.lock` that says who holds it.

    Raises:
        InUse: another process holds it; says which.
        InputError: the folder cannot be written to.
    """
    path = folder.resolve() / NAME
    if path not in _held or not _is_at(path, _held[path]):
        _held[path] = take(path, str(folder))


def take(path: Path, what: str) -> IO[str]:
    """Returns a file that no second process gets as long as it is open.

    The system lets go of it, also after `kill -9`; a lock left behind is no obstacle.
    Where the system or the file system has no locks, a warning is all there is.

    Args:
        path: of the lock, in a folder that is there; says who holds it.
        what: is locked, for messages.

    Raises:
        InUse: another process holds it; says which.
        InputError: it cannot be written.
    """
    try:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise InputError(
            f"{what} cannot be written to ({error.strerror}): use another folder"
        ) from error
    try:
        _lock(file)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise InUse(
            f"{what} is in use by {holder}: wait until it ends, stop it, or use another "
            "folder"
        ) from error
    except OSError as error:
        logging.warning(
            "%s cannot be locked (%s): see to it that no second run uses it",
            what,
            error.strerror,
        )
    with contextlib.suppress(OSError):  # a full disk is the business of what follows
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
    return file


@contextlib.contextmanager
def in_turn(target: Path) -> Iterator[None]:
    """Lets the processes that are to make a file in, one at a time; the others wait.

    The system lets go of the lock when its holder dies. Without locks in the system
    (`AVAILABLE` is False) nobody waits.

    Args:
        target: the file; `.NAME.lock` beside it is there as long as it is locked.
    """
    if not AVAILABLE:
        yield
        return
    path = target.with_name(f".{target.name}.lock")
    while True:
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                try:
                    yield
                finally:
                    path.unlink()
                return


def _lock(file: IO[str]) -> None:
    if not AVAILABLE:
        raise OSError(0, "no locks on this system")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether `path` is still this file: it, or its folder, may have been made anew."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
