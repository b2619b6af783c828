"""Finding the sound files that a command line names."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxsed import folders
from jaxsed.errors import InputError

# What libsndfile has no decoder for. Folders are searched for these, too, so that they
# are named as wrong instead of being passed over in silence.
_TO_CONVERT = ("m4a", "mp4", "aac", "wma", "amr", "webm")
# What folders are searched for.
ENDINGS = (
    *("wav", "wave", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc"),
    *("au", "snd", "caf", "w64", "rf64", "sph"),
    *_TO_CONVERT,
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

    Links to folders are followed, and no folder is searched twice. In folders, what
    counts is the ending; hidden files are left out. A file that is named itself is taken
    whatever it is called, also one of several that does not exist.

    Returns:
      `(files, problems)`: files in order of their names, each once; a line for every
      folder that cannot be read or holds nothing.

    Raises:
      InputError: There is no file at all, or nothing of what is named exists; or they
        are on several drives of Windows.
    """
    paths = list(paths)
    _refuse_gone(paths)
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
    try:
        root = os.path.commonpath(roots)
    except ValueError as error:  # Windows
        where = ", ".join(map(str, paths))
        raise InputError(
            f"{where} are on different drives: start once for each, each with its own --out"
        ) from error
    files = [
        SoundFile(path, os.path.relpath(absolute, root).replace(os.sep, "/"))
        for absolute, path in found.items()
    ]
    return sorted(files, key=lambda file: file.name), problems


def conversion(path: Path) -> str:
    """Returns what helps with a file that cannot be decoded, or ""."""
    ending = _ending(path.name)
    if ending not in _TO_CONVERT:
        return ""
    return f"; convert it: ffmpeg -i a.{ending} a.flac"


def _refuse_gone(paths: list[Path]) -> None:
    if not all(map(_is_gone, paths)):
        return
    quotes = "; a path with blanks needs quotation marks" if len(paths) > 1 else ""
    names = ", ".join(map(str, paths))
    raise InputError(f"{names}: no such file or folder{quotes}")


def _is_gone(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):  # the reader says what it is
        return False
    return False


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower()


def _walk(folder: Path, problems: list[str]):
    def unreadable(error: OSError):
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    for parent, names in folders.walk(folder, unreadable):
        for name in names:
            if _ending(name) in ENDINGS:
                yield Path(parent, name)
