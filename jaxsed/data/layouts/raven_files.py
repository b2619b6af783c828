"""Which recordings the selections of a Raven table are of, where it is of several.

Raven shows files one behind the other as one sound. `Begin Time (s)` then counts from the
start of the first one; where a selection begins in its own file is said by `Begin File`
(or by `Begin Path`, with the folders) and `File Offset (s)`.
"""

import collections
import posixpath
from collections.abc import Iterable, Sequence

from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path

_BEGIN_COLUMNS = ("begin path", "begin file")
_OFFSET_COLUMN = "file offset (s)"


def columns_of_files(header: Iterable[str]) -> tuple[str, ...]:
    """Returns the columns of the file and of the place in it; none if one is missing."""
    names = {name.lower() for name in header}
    begin = next((name for name in _BEGIN_COLUMNS if name in names), None)
    return (begin, _OFFSET_COLUMN) if begin and _OFFSET_COLUMN in names else ()


class RavenFiles:
    """Finds recordings by what tables call them."""

    def __init__(self, sounds: Iterable[str]):
        """Lists the recordings.

        Args:
          sounds: Those that there are, as `clip_path` has them.
        """
        self._called: dict[str, list[str]] = collections.defaultdict(list)
        for sound in sounds:
            self._called[posixpath.basename(sound)].append(sound)

    def are_others(self, begins: Iterable[str], path: str) -> bool:
        """Whether a table is of other recordings than the one that it is called by.

        One that is of a single file that is not there, beside a recording, is of that: it
        was renamed.

        Args:
          begins: What the selections say of their files.
          path: What the table is called by, as `clip_path` has it.
        """
        names = {posixpath.basename(clip_path(begin)) for begin in begins}
        own = posixpath.basename(path)
        if path not in self._called.get(own, ()):
            return bool(names)
        return len(names) > 1 or any(name in self._called for name in names - {own})

    def find(self, begin: str, folder: str) -> str:
        """Returns the recording that a table means.

        Of several with the name it is the one with most folders in common, counted from
        the file, else the one beside the table. What is not there is returned as called.

        Args:
          begin: Name or path of a file as Raven wrote it.
          folder: Where the table lies, "" for the data set's own folder.

        Raises:
          InputError: It may be several.
        """
        path = clip_path(begin)
        beside = posixpath.join(folder, posixpath.basename(path))
        ranked = sorted(
            (-_n_shared(sound.split("/"), path.split("/")), sound != beside, sound)
            for sound in self._called.get(posixpath.basename(path), ())
        )
        if not ranked:
            return path
        if len(ranked) > 1 and ranked[0][:2] == ranked[1][:2]:
            raise InputError(
                f"{begin} may be {ranked[0][2]} or {ranked[1][2]}; put the table beside "
                "the recordings that it is of"
            )
        return ranked[0][2]


def _n_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Returns how many folders, and the name, are the same from the end on."""
    pairs = zip(reversed(one), reversed(other))
    differ = (k for k, (a, b) in enumerate(pairs) if a != b)
    return next(differ, min(len(one), len(other)))
