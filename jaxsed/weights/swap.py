"""A finished folder takes its place in one step; an unfinished one leaves no trace."""

import contextlib
import ctypes
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path

from jaxsed.errors import InputError


def check_free(folder: Path, mark: str) -> None:
    """Refuses to write a model in the place of anything else.

    Args:
      folder: Where to.
      mark: A file that every model's folder has.

    Raises:
      InputError: `folder` is neither free, nor empty, nor a model's.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: is not a folder; choose another place")
    for parent in folder.parents:
        if parent.exists() and not parent.is_dir():
            raise InputError(f"{folder}: {parent} is a file; choose another place")
    if folder.is_dir():
        taken = any(folder.iterdir()) and not (folder / mark).is_file()
        if taken:
            raise InputError(
                f"{folder}: holds other files and no model; choose a new or empty folder"
            )


@contextlib.contextmanager
def in_place_of(folder: Path, own: Collection[str]) -> Iterator[Path]:
    """Gives a folder to fill, which takes the place of `folder` if the block succeeds.

    Args:
      folder: Its place; parents are made. A folder that is there stays up to that moment.
      own: Files that are replaced with it; all others in it are kept.
    """
    # A short name of its own, so that a folder name at the system's limit still works.
    partial = folder.parent / f".jaxsed-{uuid.uuid4().hex[:12]}.partial"
    with _parents_of(folder):
        try:
            partial.mkdir()
            yield partial
            replace_folder(partial, folder)
            for left in partial.iterdir() if partial.is_dir() else ():
                if left.name not in own:
                    os.replace(left, folder / left.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def _parents_of(folder: Path) -> Iterator[None]:
    """Makes the folders above `folder`; if the work fails, they are gone again."""
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
