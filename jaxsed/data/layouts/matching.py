"""Which sound belongs to which clip of a table.

AudioSet calls a clip by its segment id: the YouTube id, `_`, and the start in
milliseconds. Sound is called by the segment id or by the YouTube id, either with a `Y`
in front (as the scripts of PANNs and PaSST do, since ids may start with `-`).
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.problems import Problem

# Anything else beside the tables may be a sound file, whatever it is called: formats
# are told from the content.
_NOT_AUDIO = {".tsv", ".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".pdf", ".log"}
_NOT_AUDIO |= {".npz", ".npy", ".h5", ".hdf", ".hdf5", ".parquet", ".arrow", ".py"}
_NOT_AUDIO |= {".array_record", ".part", ".tmp", ".zip", ".tar", ".gz", ".tgz", ".xz"}
_NOT_AUDIO |= {".yaml", ".yml", ".png", ".jpg"}
_WITH_Y = re.compile(r"Y([\w-]{11}(?:_\d+)?)")

Found = tuple[str, AudioSource]


def walk(
    root: Path, exclude: Path | None = None, other_folders: Collection[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Walks a folder, following links, no folder twice.

    Reads folders only: the type of an entry is in its folder, so that no file is asked
    for anything, which takes hours for millions of them on a network.

    Args:
      root: Searched with its sub-folders.
      exclude: A folder to stay out of: that of the output.
      other_folders: Names of sub-folders to stay out of.

    Yields:
      `(folder, file names)`, folders relative to `root`, with `/` between and behind.
    """
    visited = {os.path.realpath(exclude)} if exclude else set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = [name for name in subfolders if name not in other_folders]
        inside = Path(os.path.relpath(folder, root)).as_posix()
        yield "" if inside == "." else f"{inside}/", files


def find_audio(
    root: Path, exclude: Path | None = None, other_folders: Collection[str] = ()
) -> Iterator[Found]:
    """Finds what may be sound files; arguments as `walk`.

    Yields:
      `(name without ending, source)`, names in Unicode NFC, in no particular order.
    """
    container = Folder(root)
    for folder, files in walk(root, exclude, other_folders):
        for name in files:
            stem, ending = os.path.splitext(name)
            if ending.lower() not in _NOT_AUDIO and not name.startswith("."):
                yield composed(stem), AudioSource(container, folder + name)


def composed(text: str) -> str:
    """Returns Unicode NFC: macOS stores names decomposed, tables hold them composed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def video_of(segment: str) -> str:
    """Returns the YouTube id of a segment id, "" if it has none."""
    return segment.rpartition("_")[0]


def without_y(stem: str) -> str:
    """Removes the `Y` put in front of a YouTube id or a segment id."""
    match = _WITH_Y.fullmatch(stem)
    return match[1] if match else stem


def shared_videos(segments: Iterable[str]) -> set[str]:
    """Returns the YouTube ids that name several segments, and hence none of them."""
    counts = Counter(map(video_of, segments))
    return {video for video, count in counts.items() if count > 1}


def match_audio(
    segments: Sequence[str], found: Iterable[Found], problems: list[Problem]
) -> list[AudioSource | None]:
    """Chooses the sound of every clip that has one.

    A name fits in this order: segment id, the same with a `Y`, YouTube id, the same
    with a `Y`. Where several fit equally, the first by place is taken.

    Args:
      segments: Segment ids of the clips.
      found: Names and sources, in any order.
      problems: Gets a `duplicate_audio` for every clip that several sounds fit.

    Returns:
      One a clip, or None.
    """
    names = _names_of(segments)
    sounds: list[AudioSource | None] = [None] * len(segments)
    ranks = bytearray(len(segments))
    several: dict[int, list[tuple[int, AudioSource]]] = {}
    for stem, source in found:
        for has_y, name in enumerate((stem, stem[1:] if stem[:1] == "Y" else "")):
            if not name or name not in names:
                continue
            row, is_video = divmod(names[name], 2)
            rank = 2 * is_video + has_y
            if sounds[row] is None:
                sounds[row], ranks[row] = source, rank
            else:
                fitting = several.setdefault(row, [(ranks[row], sounds[row])])
                fitting.append((rank, source))
    for row, fitting in sorted(several.items()):
        fitting.sort(
            key=lambda fit: (fit[0], fit[1].container.file(fit[1].place), fit[1].place)
        )
        listed = ", ".join(source.name for _, source in fitting[:4])
        what = f"{listed}: the first is used"
        problems.append(Problem(segments[row], "duplicate_audio", what))
        sounds[row] = fitting[0][1]
    return sounds


def _names_of(segments: Sequence[str]) -> dict[str, int]:
    """Returns name -> 2 x clip, plus 1 if the name is a YouTube id."""
    shared = shared_videos(segments)
    names = {}
    for row, segment in enumerate(segments):
        video = video_of(segment)
        if video and video not in shared:
            names[video] = 2 * row + 1
    for row, segment in enumerate(segments):
        names[segment] = 2 * row
    return names
