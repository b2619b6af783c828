"""One process at a time may make a file; the others wait for it."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

AVAILABLE = fcntl is not None


@contextlib.contextmanager
def held(target: Path) -> Iterator[None]:
    """Holds the lock of a file that is to be made.

    The system lets go of it when its holder dies. Without locks in the system
    (`AVAILABLE` is False) this does nothing.

    Args:
      target: The file; `.NAME.lock` beside it is there as long as it is locked.
    """
    if fcntl is None:
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


def _is_at(path: Path, file) -> bool:
    """Whether `path` is still this file and not one made after its holder removed it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
