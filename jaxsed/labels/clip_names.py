"""What clips are called, wherever a table or a folder names them by files.

A clip is called by its path, without the folders that all clips have in common and the
ending, with `-` for `/`: of `audio/day1/a.wav` and `audio/day2/a.wav` these are `day1-a`
and `day2-a`. Data sets that are prepared, folders of scores and tables of true events all
say so, and therefore mean the same clip.
"""

import collections
import posixpath
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping

from jaxsed.errors import InputError

_DRIVE = re.compile(r"^[A-Za-z]:(?=/)")
_NOT_TEXT = re.compile("[\ud800-\udfff]")  # how Python holds bytes that are no text
_ENDING = re.compile(
    r"\.(wav|flac|ogg|oga|opus|mp3|aiff?|aifc|au|caf|w64|m4a|mp4|aac|webm|mkv|mov|avi)$",
    re.I,
)


def legible(name: str) -> str:
    """Returns the name of a file as text: what in it is not Unicode becomes U+FFFD."""
    return _NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", name)


def composed(text: str) -> str:
    """Returns Unicode NFC: macOS stores names decomposed, tables hold them composed."""
    return text if text.isascii() else unicodedata.normalize("NFC", legible(text))


def is_sound(name: str) -> bool:
    """Whether a file is called as sounds are."""
    return bool(_ENDING.search(name))


def clip_path(name: str) -> str:
    """Returns the path of a clip that a table or a folder calls by a file.

    Without what leads out of the data set, and without the ending, if that is one of a
    sound (other dots belong to the name): what a table calls `..\\audio\\a.wav` may lie
    there as `a.flac`. "" if there is none.
    """
    path = posixpath.normpath(_DRIVE.sub("", name.replace("\\", "/")))
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return composed(_ENDING.sub("", "/".join(parts)))


def clip_id(path: str, folder: str = "") -> str:
    """Returns what a clip is called, without a folder that its path begins with.

    Args:
        path: of the clip, from `clip_path`.
        folder: left out, with a slash behind it; one that does not fit stays.
    """
    return path.removeprefix(folder).replace("/", "-")


def clip_ids(paths: Iterable[str]) -> dict[str, str]:
    """Returns path -> what the clip is called, for all clips of a data set.

    Args:
        paths: of the clips, from `clip_path`.

    Raises:
        InputError: two would be called the same.
    """
    paths = sorted(set(paths))
    shared = posixpath.commonpath([posixpath.dirname(path) for path in paths] or [""])
    ids = {path: clip_id(path, f"{shared}/" if shared else "") for path in paths}
    _refuse_namesakes(ids)
    return ids


def clip_ids_among(paths: Iterable[str], known: Collection[str]) -> dict[str, str]:
    """Returns path -> what the clip is called by others, who may see other folders.

    A table may list some of the clips of a data set, and be written from another folder:
    what is left out of its paths is the folder without which most of them are known.

    Args:
        paths: of the clips, from `clip_path`.
        known: what others call their clips, perhaps with folders; where they know none of
            these, clips are called as by `clip_ids`.

    Raises:
        InputError: two would be called the same, or clips of several folders may be meant.
    """
    paths, spelled = sorted(set(paths)), {clip_id(other): other for other in known}
    found: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        folders = [""] + [path[: k + 1] for k, c in enumerate(path) if c == "/"]
        for folder in folders:
            if clip_id(path, folder) in spelled:
                found[folder].append(path)
    if not found:
        return clip_ids(paths)
    # Of folders without which as many are known, as little as possible is left out.
    folder = min(found, key=lambda folder: (-len(found[folder]), len(folder)))
    _refuse_several(found, folder)
    ids = {path: clip_id(path, folder) for path in paths}
    _refuse_namesakes(ids)
    return {path: spelled.get(name, name) for path, name in ids.items()}


def paths_meant(files: Mapping[str, str], paths: Collection[str]) -> dict[str, str]:
    """Returns which path of a table means which file on disk.

    It is the end of the file's whole path, by whole folders, and of several the longest;
    or else the path itself ends with the file's name, or is what a clip of this name is
    called.

    Args:
        files: name, from a folder that all have in common -> the whole path; both from
            `clip_path`.
        paths: of the table, from `clip_path`.

    Returns:
        name -> path, of those files that one means.

    Raises:
        InputError: one may mean several files, or a file may be meant by several.
    """
    ends: dict[str, list[str]] = collections.defaultdict(list)
    for path in paths:
        ends[posixpath.basename(path)].append(path)
    meant: dict[str, str] = {}
    for name, whole in files.items():
        starts = [0, *(k + 1 for k, c in enumerate(whole) if c == "/")]
        path = next((whole[k:] for k in starts if whole[k:] in paths), None)
        if path is None:
            path = _path_from_elsewhere(name, ends[posixpath.basename(name)])
        if path is None and clip_id(name) in paths:
            path = clip_id(name)
        if path is not None:
            meant[name] = path
    for other, name in _namesakes(meant):
        raise InputError(
            f"{meant[name]} may be {other} or {name}: write the folder in front of it"
        )
    return meant


def _path_from_elsewhere(name: str, paths: Collection[str]) -> str | None:
    fitting = [path for path in paths if f"/{path}".endswith(f"/{name}")]
    if len(fitting) > 1:
        raise InputError(
            f"{name} may be {fitting[0]} or {fitting[1]}: leave the lines of other folders "
            "out of the table, or name the folder above them instead of the file"
        )
    return fitting[0] if fitting else None


def _refuse_several(found: dict[str, list[str]], chosen: str) -> None:
    """Refuses to guess which of day1/a and day2/a others call a."""
    for folder, paths in found.items():
        strange = [path for path in paths if not path.startswith(chosen)]
        if chosen and folder and strange:
            one, other = found[chosen][0], strange[0]
            raise InputError(
                f"{one} may be meant by {clip_id(one, chosen)!r}, but {other} by "
                f"{clip_id(other, folder)!r} just as well: leave the lines of other "
                "folders out of the table, or call recordings by their folders on both "
                "sides"
            )


def _refuse_namesakes(ids: dict[str, str]) -> None:
    for other, path in _namesakes(ids):
        raise InputError(
            f"{other} and {path} would both be called {ids[path]}; rename one"
        )


def _namesakes(names: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields keys of the same name, the first one before each other."""
    first: dict[str, str] = {}
    for key, name in names.items():
        if first.setdefault(name, key) != key:
            yield first[name], key
