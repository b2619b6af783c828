"""What lies in a folder and its sub-folders, whoever looks for it."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

_HIDDEN_BY_WINDOWS = ("$RECYCLE.BIN", "System Volume Information")


def walk(
    root: Path,
    unreadable: Callable[[OSError], object],
    exclude: Path | None = None,
    other_folders: Collection[str] = (),
) -> Iterator[tuple[str, list[str]]]:
    """Walks a folder, following links, no folder twice.

    What is hidden is passed over (a dot in front, and Windows' own): trash cans, what
    macOS writes beside every file on disks of others.

    Reads folders only: the type of an entry is in its folder, so that no file is asked
    for anything, which takes hours for millions of them on a network.

    Args:
      root: Searched with its sub-folders.
      unreadable: Told of a folder that cannot be read.
      exclude: A folder to stay out of: that of the output.
      other_folders: Names of sub-folders to stay out of.

    Yields:
      `(folder, file names)`, folders beginning with `root`.
    """
    visited = {os.path.realpath(exclude)} if exclude else set()
    for folder, inside, files in os.walk(root, onerror=unreadable, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            inside.clear()
            continue
        visited.add(real)
        # In order, so that of two ways to a folder it is always the same one.
        inside[:] = sorted(set(_visible(inside)).difference(other_folders))
        yield folder, _visible(files)


def first_file(folders: Iterable[Path], name: str) -> Path | None:
    """Returns the file of that name in the first of the folders that has it."""
    return next(filter(Path.is_file, (folder / name for folder in folders)), None)


def _visible(names: Iterable[str]) -> list[str]:
    return [name for name in names if name[0] != "." and name not in _HIDDEN_BY_WINDOWS]
