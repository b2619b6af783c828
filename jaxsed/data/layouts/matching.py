"""Which sound belongs to which clip of a table: by YouTube id, or by path.

AudioSet calls a clip by its segment id: the YouTube id, `_`, and the start in
milliseconds. Sound is called by the segment id or by the YouTube id, either with a `Y`
in front (as the scripts of PANNs and PaSST do, since ids may start with `-`). Other
scripts write start and end behind the YouTube id, in seconds or milliseconds:
`ID_000030` (VGGSound), `ID_000030_000040` (Kinetics), `ID_30000_40000`.
"""

import functools
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from jaxsed import folders
from jaxsed.data.layouts.audio_source import AudioSource, Folder
from jaxsed.data.layouts.films import is_film
from jaxsed.data.problems import Problem
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import composed, is_sound

# Anything else beside the tables may be a sound file, whatever it is called: formats
# are told from the content.
_NOT_AUDIO = {".tsv", ".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".pdf", ".log"}
_NOT_AUDIO |= {".npz", ".npy", ".h5", ".hdf", ".hdf5", ".parquet", ".arrow", ".py"}
_NOT_AUDIO |= {".array_record", ".part", ".tmp", ".zip", ".tar", ".gz", ".tgz", ".xz"}
_NOT_AUDIO |= {".yaml", ".yml", ".png", ".jpg", ".jams"}
_WITH_Y = re.compile(r"Y([\w-]{11}(?:_\d+)?)")
# YouTube id, start, perhaps end: seconds or milliseconds.
_CUT = re.compile(r"Y?([\w-]{11})_(\d+(?:\.\d+)?)(?:[_-]\d+(?:\.\d+)?)?")

Found = tuple[str, AudioSource]
Fit = tuple[int, int, AudioSource]  # row of the clip, rank (low is good), sound


def walk(
    root: Path, exclude: Path | None = None, other_folders: Collection[str] = ()
) -> Iterator[tuple[str, list[str]]]:
    """Walks a folder as `jaxsed.folders.walk`; one that cannot be read is warned of.

    Args:
      root: Searched with its sub-folders.
      exclude: A folder to stay out of: that of the output.
      other_folders: Names of sub-folders to stay out of.

    Yields:
      `(folder, file names)`, folders relative to `root`, with `/` between and behind.
    """
    for folder, files in folders.walk(root, _warn, exclude, other_folders):
        inside = Path(os.path.relpath(folder, root)).as_posix()
        yield "" if inside == "." else f"{inside}/", files


def _warn(error: OSError) -> None:
    _warn_once(f"{error.filename} cannot be read ({error.strerror}): left out")


@functools.cache  # a folder is walked for every split
def _warn_once(text: str) -> None:
    logging.warning("%s", text)


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
            if ending.lower() not in _NOT_AUDIO:
                yield composed(stem), AudioSource(container, folder + name)


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
    segments: Sequence[str],
    found: Iterable[Found],
    problems: list[Problem],
    clips: Sequence[str] | None = None,
) -> list[AudioSource | None]:
    """Chooses the sound of every clip of a YouTube video that has one.

    A name fits in this order: segment id, the same with a `Y`, YouTube id, the same
    with a `Y`. A segment id may be spelled in another way (`_respelled`). Where several
    fit equally, the first by place is taken.

    Args:
      segments: Segment ids of the clips.
      found: Names and sources, in any order.
      problems: Gets a `duplicate_audio` for every clip that several sounds fit.
      clips: What to call the clips in problems; by default their segment ids.

    Returns:
      One a clip, or None.
    """
    return _choose(clips or segments, _by_name(_names_of(segments), found), problems)


def _by_name(names: Mapping[str, int], found: Iterable[Found]) -> Iterator[Fit]:
    for stem, source in found:
        spellings = (stem, stem[1:] if stem[:1] == "Y" else "")
        known = [(k, name) for k, name in enumerate(spellings) if name in names]
        if not known:
            known = [(0, name) for name in _respelled(stem) if name in names][:1]
        for has_y, name in known:
            row, is_video = divmod(names[name], 2)
            yield row, 2 * is_video + has_y, source


def _respelled(stem: str) -> Iterator[str]:
    """Yields the segment ids that a name may mean: start and end, seconds or ms."""
    match = _CUT.fullmatch(stem)
    if match:
        video, start = match[1], float(match[2])
        yield segment_of(video, start)
        yield segment_of(video, start / 1000)


def segment_of(video: str, start_seconds: float) -> str:
    """Returns the segment id of a clip: YouTube id and start in milliseconds."""
    return f"{video}_{round(1000 * start_seconds)}"


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


def match_paths(
    paths: Sequence[str],
    clips: Sequence[str],
    found: Iterable[Found],
    problems: list[Problem],
    in_one_folder: bool = False,
) -> list[AudioSource | None]:
    """Chooses the sound of every clip that a table calls by a file.

    A file fits whose path from the folder of the data set is the clip's; or else one
    whose path ends with the clip's, by whole folders; or else one of which the whole path
    is the end of one clip's path.

    Args:
      paths: Of the clips, `/` between, without endings; unique.
      clips: What to call them in problems.
      found: Names and sources, in any order.
      problems: Gets a `duplicate_audio` for every clip that several sounds fit.
      in_one_folder: Several that fit equally have to lie in one folder, as copies in
        another format do: recorders at several places call their files alike.

    Returns:
      One a clip, or None.

    Raises:
      InputError: Sounds in several folders fit a clip equally, and may not.
    """
    return _choose(clips, _by_path(paths, found), problems, in_one_folder)


def unclaimed(paths: Sequence[str], found: Iterable[Found]) -> list[Found]:
    """Returns what is called as sounds are and fits no clip; see `match_paths`."""
    sounds = [each for each in found if is_sound(each[1].name)]
    fitting = {source.name for _, _, source in _by_path(paths, sounds)}
    return [each for each in sounds if each[1].name not in fitting]


def path_of(found: Found) -> str:
    """Returns the path of a sound from the folder of the data set, without ending."""
    stem, source = found
    folder = composed(source.name.rpartition("/")[0])
    return f"{folder}/{stem}" if folder else stem


def _by_path(paths: Sequence[str], found: Iterable[Found]) -> Iterator[Fit]:
    rows = {path: row for row, path in enumerate(paths)}
    depths = sorted({path.count("/") + 1 for path in paths}, reverse=True)
    others: dict[str, list[AudioSource]] = {}
    for each in found:
        source = each[1]
        whole = path_of(each)
        parts = whole.split("/")
        ends = ("/".join(parts[-depth:]) for depth in depths if depth <= len(parts))
        row = next((rows[end] for end in ends if end in rows), None)
        if row is None:
            others.setdefault(whole, []).append(source)
        else:
            yield row, 0 if paths[row] == whole else 1, source
    # The table may be from a place where the folder of the data set had another name.
    claims: dict[str, list[int]] = {}
    for row, path in enumerate(paths if others else ()):
        parts = path.split("/")
        ends = ("/".join(parts[k:]) for k in range(1, len(parts)))
        whole = next((end for end in ends if end in others), None)
        if whole is not None:
            claims.setdefault(whole, []).append(row)
    for whole, claimants in claims.items():
        if len(claimants) == 1:  # else nobody can tell whose it is
            yield from ((claimants[0], 2, source) for source in others[whole])


def _choose(
    clips: Sequence[str],
    fits: Iterable[Fit],
    problems: list[Problem],
    in_one_folder: bool = False,
) -> list[AudioSource | None]:
    """Chooses among the sounds that fit: the lowest rank, the first by place.

    A film is taken only if nothing else fits.
    """
    sounds: list[AudioSource | None] = [None] * len(clips)
    ranks = bytearray(len(clips))
    several: dict[int, list[tuple[int, AudioSource]]] = {}
    for row, rank, source in fits:
        if sounds[row] is None:
            sounds[row], ranks[row] = source, rank
        else:
            fitting = several.setdefault(row, [(ranks[row], sounds[row])])
            fitting.append((rank, source))
    for row, fitting in sorted(several.items()):
        fitting = [fit for fit in fitting if not is_film(fit[1])] or fitting
        fitting.sort(
            key=lambda fit: (fit[0], fit[1].container.file(fit[1].place), fit[1].place)
        )
        sounds[row] = fitting[0][1]
        if in_one_folder:
            _refuse_folders([s.name for k, s in fitting if k == fitting[0][0]])
        if len(fitting) > 1:
            listed = ", ".join(source.name for _, source in fitting[:4])
            what = f"{listed}: the first is used"
            problems.append(Problem(clips[row], "duplicate_audio", what))
    return sounds


def _refuse_folders(names: Sequence[str]) -> None:
    for name in names[1:]:
        if os.path.dirname(name) != os.path.dirname(names[0]):
            raise InputError(
                f"a line of {os.path.basename(name)} may be of {names[0]} or of {name}: "
                "write the folder in front of it, or move away the copies"
            )
