"""VGGSound (Chen et al. 2020): one label for each ten-second clip, 309 classes.

    SRC/vggsound.csv                # no header: YouTube id, start in seconds, label, split
    SRC/**/---g-f_I2yQ_000001.*     sound, in any sub-folders

The table, as released, may also lie in SRC/data or SRC/metadata. Its splits are `train`
and `test`, which is called `eval` here. A sound is called by YouTube id and start
(`ID_000030`, as the authors call it, `ID_30`, `ID_30000`), by start and end
(`ID_30_40`, `ID_30000_40000`), or by the YouTube id alone, should the table have but one
clip of the video; each also with a `Y` in front. A clip is called as its authors do.

The classes are those of the whole table, sorted by name, the same for both splits.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.audioset_strong import seconds
from jaxsed.data.layouts.clip_listing import ClipListing, classes_of
from jaxsed.data.layouts.matching import find_audio, match_audio, segment_of
from jaxsed.data.layouts.source import CLIPS, SINGLE, SourceSplit
from jaxsed.data.layouts.splits import split_called
from jaxsed.data.problems import Problem
from jaxsed.errors import InputError
from jaxsed.folders import first_file
from jaxsed.labels.clip_names import composed
from jaxsed.labels.tables import read_rows
from jaxsed.labels.vocab import Vocabulary

NAME = "vggsound"
SPLITS = ("train", "eval")
ANNOTATIONS = (CLIPS,)
TABLE = "vggsound.csv"
_FOLDERS = ("", "data", "metadata")
_CLIP_SECONDS = 10.0  # Chen et al. 2020, section 2


class _Row(NamedTuple):
    video: str
    start_seconds: float
    label: str
    split: str
    line: int


def table_of(source: Path) -> Path | None:
    """Returns the table, None if there is none."""
    return first_file((source / folder for folder in _FOLDERS), TABLE)


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return TABLE


def available_splits(source: Path) -> list[str]:
    """Returns the splits that the table has clips of; both of one that has none.

    `read` then says what is wrong with it.
    """
    table = table_of(source)
    if table is None:
        return []
    listed = {split_called(row.split) for row in _rows(table, ClipListing(SINGLE))}
    return [split for split in SPLITS if split in listed] or list(SPLITS)


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = CLIPS,
) -> SourceSplit:
    """Reads the table and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train` or `eval`.
      vocabulary: The classes; by default those of the table.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.

    Raises:
      InputError: The table is not there, is unreadable, or has no clip of the split.
    """
    table = table_of(source)
    if table is None:
        raise InputError(f"no {TABLE} in {source}, nor in its data or metadata")
    listing = ClipListing(SINGLE)
    labels = set()
    segments: dict[str, str] = {}
    for row in _rows(table, listing):
        meant = split_called(row.split)
        if meant not in SPLITS:
            what = f"{row.split!r} is neither train nor test"
            listing.reject("unknown_split", table, row.line, what)
            continue
        labels.add(row.label)
        clip = f"{row.video}_{round(row.start_seconds):06d}"
        segments[clip] = segment_of(row.video, row.start_seconds)
        if meant == split:
            listing.add(clip, _CLIP_SECONDS, [row.label], row.line)
    clips = listing.clips
    if not clips:
        raise InputError(
            f"{table}: no line of {split} can be read as YouTube id, start in seconds, "
            "label, train or test"
        )
    # Clips of both splits at once, as a video may have one in each.
    problems: list[Problem] = []
    found = find_audio(source, exclude)
    sounds = match_audio(list(segments.values()), found, problems, list(segments))
    sound_of, here = dict(zip(segments, sounds)), set(clips)
    listing.problems += [problem for problem in problems if problem.clip in here]
    audio = [sound_of[clip] for clip in clips]
    vocabulary = vocabulary or classes_of(labels, NAME)
    return listing.split(NAME, split, source, vocabulary, listing.build(audio))


def _rows(table: Path, listing: ClipListing) -> Iterator[_Row]:
    """Yields the lines of the table that can be read."""
    for line, cells in read_rows(table, ","):
        if len(cells) < 4:
            listing.reject("unreadable_line", table, line, "too few values")
            continue
        # Labels hold commas, and not everybody who wrote the table anew quotes them.
        video, start, *label, split = cells
        label = composed(", ".join(label))
        onset = seconds(start)
        if video and label and 0 <= onset < math.inf:
            yield _Row(video, onset, label, split, line)
        elif line > 1:  # which may be a header
            what = f"id {video!r}, start {start!r}, label {label!r}"
            listing.reject("unreadable_line", table, line, what)
