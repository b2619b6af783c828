"""DESED, as DCASE task 4 lays it out (Turpault et al. 2019; DCASE-REPO/DESED_task).

    SRC/metadata/train/audioset_strong.tsv                    train_strong
    SRC/metadata/train/weak.tsv                               train_weak
    SRC/metadata/train/synthetic21_train/soundscapes.tsv      train_synthetic
    SRC/metadata/validation/validation.tsv                    validation
    SRC/metadata/validation/synthetic21_validation/soundscapes.tsv
                                                              validation_synthetic
    SRC/metadata/eval/public.tsv                              eval

`metadata` may be up to two folders deeper (`dataset/dcase_synth/metadata`), and
soundscapes of another year are called `synthetic*`. Sounds lie where the table does, with
`audio` for `metadata` and the table's name as a folder, `_16k` behind it or not:
`audio/eval/public`; those of `audioset_strong.tsv` in `audio/train/strong_label_real`.

Tables have the columns filename, onset, offset and event_label (seconds; a line with
blanks there: a clip without events), `weak.tsv` filename and event_labels, with commas
between. Clips that are listed in `*_durations.tsv` alone have no events either. Clips
without labels (`unlabel_in_domain`) are not taken.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from jaxsed.data.layouts.clip_columns import labels_in
from jaxsed.data.layouts.clip_listing import ClipListing
from jaxsed.data.layouts.event_listing import EventListing
from jaxsed.data.layouts.matching import Found, find_audio, match_paths
from jaxsed.data.layouts.source import FRAMES, MULTI, SourceSplit
from jaxsed.data.problems import Problem
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_path
from jaxsed.labels.tables import read_table, seconds_in
from jaxsed.labels.vocab import Vocabulary

NAME = "desed"
ANNOTATIONS = (FRAMES,)
_WEAK = "train_weak"
# Where the table of each split lies below `metadata`.
_TABLES = {
    "train_strong": "train/audioset_strong.tsv",
    _WEAK: "train/weak.tsv",
    "train_synthetic": "train/synthetic*/soundscapes.tsv",
    "validation": "validation/validation.tsv",
    "validation_synthetic": "validation/synthetic*/soundscapes.tsv",
    "eval": "eval/public.tsv",
}
SPLITS = tuple(_TABLES)
_ELSEWHERE = {"train/audioset_strong": "train/strong_label_real"}
_RESAMPLED = "_16k"  # copies that DESED_task makes
_UNUSED = {"unlabel_in_domain", f"unlabel_in_domain{_RESAMPLED}", "soundbank"}
# DESED_task, local/classes_dict.py, in the order of the names.
CLASSES = (
    "Alarm_bell_ringing",
    "Blender",
    "Cat",
    "Dishes",
    "Dog",
    "Electric_shaver_toothbrush",
    "Frying",
    "Running_water",
    "Speech",
    "Vacuum_cleaner",
)


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return f"metadata/{_TABLES[split]}"


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has a table of."""
    return [split for split in SPLITS if _tables(source, split)]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = FRAMES,
) -> SourceSplit:
    """Reads a table and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: One of `SPLITS`.
      vocabulary: The classes; by default the ten of DESED.
      exclude: A folder in which not to look for audio.
      annotation: There is but `frames`; `train_weak` has labels of clips.

    Raises:
      InputError: The table is missing, unreadable or lacks a column, there are several
        or it has no clip.
    """
    tables = _tables(source, split)
    if len(tables) != 1:
        found = ", ".join(str(table.relative_to(source)) for table in tables)
        raise InputError(
            f"{source}: expected one {expected(split)}, found {found or 'none'}"
        )
    vocabulary = vocabulary or Vocabulary(f"{NAME}_{len(CLASSES)}", CLASSES)
    listing = _read_weak(tables[0]) if split == _WEAK else _read_events(tables[0])
    clips = listing.clips
    if not clips:
        raise InputError(f"{tables[0]} has no clip")
    found = _sounds(source, exclude, tables[0])
    audio = match_paths(clips, clips, found, listing.problems)
    if split == _WEAK:
        table = listing.build(audio)
        return listing.split(NAME, split, source, vocabulary, table)
    return listing.split(NAME, split, source, vocabulary, audio)


def _tables(source: Path, split: str) -> list[Path]:
    depths = ("", "*/", "*/*/")
    found = (source.glob(f"{depth}{expected(split)}") for depth in depths)
    return [path for paths in found for path in sorted(paths) if path.is_file()]


def _read_events(table: Path) -> EventListing:
    problems: list[Problem] = []
    durations = _read_durations(table, problems)
    listing = EventListing(durations)
    listing.problems += problems
    columns = ("filename", "onset", "offset", "event_label")
    for line, values in read_table(table, "\t", columns):
        file, onset, offset, label = values or ("", "", "", "")
        clip = clip_path(file)
        if clip:
            listing.add_row(clip, (onset, offset), label, table.name, line)
        else:
            listing.reject("", table.name, line, "too few values")
    for clip in sorted(durations.keys() - set(listing.clips)):
        listing.add_nothing(clip)
    return listing


def _read_durations(table: Path, problems: list[Problem]) -> dict[str, float]:
    durations: dict[str, float] = {}
    name = f"{table.stem}_durations.tsv"
    if table.stem == "soundscapes":
        name = "durations.tsv"
    path = table.with_name(name)
    if not path.is_file():
        return durations
    for line, values in read_table(path, "\t", ("filename", "duration")):
        file, duration = values or ("", "")
        clip, listed = clip_path(file), seconds_in(duration)
        if clip and 0 < listed < math.inf:
            durations[clip] = listed
        else:
            what = f"{name}, line {line}: no duration in seconds"
            problems.append(Problem(clip, "unreadable_line", what))
    return durations


def _read_weak(table: Path) -> ClipListing:
    listing = ClipListing(MULTI)
    for line, values in read_table(table, "\t", ("filename", "event_labels")):
        file, labels = values or ("", "")
        clip = clip_path(file)
        if clip:
            listing.add(clip, math.nan, labels_in(labels, ","), line)
        else:
            listing.reject("unreadable_line", table, line, "too few values")
    return listing


def _sounds(source: Path, exclude: Path | None, table: Path) -> Iterator[Found]:
    """Yields the sounds of a table; resampled copies only where there is nothing else."""
    # A slash in front: of the working folder, the path begins with `metadata`.
    below = f"/{table.with_suffix('').as_posix()}".rpartition("/metadata/")[2]
    place = _ELSEWHERE.get(below, below)
    places = [place, place.rpartition("/")[0], f"{place}{_RESAMPLED}"]
    if (
        below != "validation/validation"
    ):  # in years before 2020 without the second folder
        del places[1]
    found: list[list[Found]] = [[] for _ in places]
    for stem, sound in find_audio(source, exclude, _UNUSED):
        folder = f"/{sound.name.rpartition('/')[0]}"
        for rank, place in enumerate(places):
            if folder.endswith(f"/audio/{place}"):
                found[rank].append((stem, sound))
    taken: set[str] = set()
    for sounds in found:
        yield from (each for each in sounds if each[0] not in taken)
        taken |= {stem for stem, _ in sounds}
