"""Finding the sound files that a command line names."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxsed import folders
from jaxsed.errors import InputError

# What folders are searched for. Some cannot be decoded; they are then named as wrong
# instead of being passed over in silence.
ENDINGS = (
    *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc"),
    *("au", "snd", "caf", "w64", "rf64", "sph"),
    *("m4a", "mp4", "aac", "wma", "amr", "webm"),
)


class SoundFile(NamedTuple):
    """A sound file to work on.

    Attributes:
      path: Where it is.
      name: What results call it: its path below the folder that all inputs share, with
        slashes. Unique among the inputs.
    """

    path: Path
    name: str


def find(paths: Iterable[Path]) -> tuple[list[SoundFile], list[str]]:
    """Lists files, and the sound files in folders and all their sub-folders.

    Links to folders are followed, and no folder is searched twice. In folders, what counts is the ending; hidden files are left out. A file that is
    named itself is taken whatever it is called, and whether or not it exists.

    Returns:
      `(files, problems)`: files in order of their names, each once; a line for every
      folder that cannot be read or holds nothing.

    Raises:
      InputError: There is no file at all.
    """
    paths = list(paths)
    found: dict[str, Path] = {}  # by absolute path, links not followed
    problems: list[str] = []
    roots = []
    for path in paths:
        absolute = os.path.abspath(path)
        if os.path.isdir(path):
            roots.append(absolute)
            inside = list(_walk(path, problems))
            if not inside:
                problems.append(f"{path}: no sound file in this folder")
            found.update((os.path.abspath(file), file) for file in inside)
        else:
            roots.append(os.path.dirname(absolute))
            found[absolute] = path
    if not found:
        endings = ", ".join(ENDINGS)
        where = ", ".join(map(str, paths))
        raise InputError(f"no sound file in {where}; looked for endings {endings}")
    root = os.path.commonpath(roots)
    files = [
        SoundFile(path, os.path.relpath(absolute, root).replace(os.sep, "/"))
        for absolute, path in found.items()
    ]
    return sorted(files, key=lambda file: file.name), problems


def _walk(folder: Path, problems: list[str]):
    def unreadable(error: OSError):
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    for parent, names in folders.walk(folder, unreadable):
        for name in names:
            ending = name.rpartition(".")[2].lower()
            if ending in ENDINGS:
                yield Path(parent, name)
