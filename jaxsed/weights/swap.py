"""A finished folder takes its place in one step; an unfinished one leaves no trace."""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def parents_of(folder: Path) -> Iterator[None]:
    """Makes the folders above `folder`; if the work fails, they are gone again.

    Args:
      folder: What is made in the body of the `with`.
    """
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # another's files are in there by now
            for parent in made:
                parent.rmdir()
        raise


def replace_folder(partial: Path, folder: Path) -> None:
    """Moves the folder `partial` to `folder`.

    What was at `folder` is at `partial` afterwards; the two must be neighbours. On Linux
    there is no moment at which neither is at `folder`.

    Args:
      partial: The finished folder.
      folder: Its place, free or taken by another folder.
    """
    if not folder.exists():
        os.rename(partial, folder)
        return
    if not _exchange(partial, folder):
        # No atomic exchange here (not Linux, or a network file system): for the time
        # between two renames the old model has the name ending in `.old`.
        old = partial.with_suffix(".old")
        os.rename(folder, old)
        try:
            os.rename(partial, folder)
        except OSError:
            os.rename(old, folder)
            raise
        os.rename(old, partial)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step where Linux and the file system can."""
    at_working_directory, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    arguments = (os.fsencode(one), at_working_directory, os.fsencode(other))
    return rename(at_working_directory, *arguments, exchange) == 0
