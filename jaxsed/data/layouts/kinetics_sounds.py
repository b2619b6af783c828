"""Kinetics-Sounds: the classes of Kinetics that one can hear, one label a clip.

    SRC/train.csv  SRC/val.csv  SRC/test.csv        label,youtube_id,time_start,time_end,split
    SRC/**/_dbcJuKJQNs_000040_000050.*              sound, in any sub-folders

The tables are those of Kinetics, as released, with all its classes or some; the word in
a file's name says its split, whatever stands around it (`kinetics_400_val.csv`). They
may also lie in SRC/annotations. `test.csv` of Kinetics-400 as first released has no
labels and is not used. A sound is called by YouTube id, start and end, as Kinetics'
scripts do, or by the YouTube id, in a folder a class or not.

Arandjelovic and Zisserman (Look, Listen and Learn, 2017, appendix A1) chose 34 classes
before Kinetics was released. Five of them are called otherwise in the release, and
`typing` and `patting` are not in it, which leaves the 32 of `CLASSES`. Other authors
have taken 31 or 36; a vocabulary picks other classes, by the names in the tables.
"""

import math
from pathlib import Path

from jaxsed.data.layouts.audioset_strong import seconds
from jaxsed.data.layouts.clip_listing import ClipListing
from jaxsed.data.layouts.matching import find_audio, match_audio, segment_of
from jaxsed.data.layouts.source import CLIPS, SINGLE, SourceSplit
from jaxsed.data.layouts.splits import SPLITS, split_of_file
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import composed
from jaxsed.labels.tables import read_header, read_table
from jaxsed.labels.vocab import Vocabulary

NAME = "kinetics_sounds"
ANNOTATIONS = (CLIPS,)
_COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_FOLDERS = ("", "annotations", "metadata")
_AS_RELEASED = {"train": "train", "validation": "val", "eval": "test"}
CLASSES = (
    "blowing nose",
    "blowing out candles",  # blowing out
    "bowling",
    "chopping wood",
    "dribbling basketball",  # dribbling ball
    "laughing",
    "mowing lawn",  # mowing the lawn by pushing lawnmower
    "playing accordion",
    "playing bagpipes",
    "playing bass guitar",
    "playing clarinet",
    "playing drums",
    "playing guitar",
    "playing harmonica",
    "playing keyboard",
    "playing organ",
    "playing piano",
    "playing saxophone",
    "playing trombone",
    "playing trumpet",
    "playing violin",
    "playing xylophone",
    "ripping paper",
    "shoveling snow",
    "shuffling cards",
    "singing",
    "stomping grapes",  # stomping
    "strumming guitar",  # fingerpicking
    "tap dancing",
    "tapping guitar",
    "tapping pen",
    "tickling",
)


def table_of(source: Path, split: str) -> Path | None:
    """Returns the table of a split, None if there is none.

    Raises:
      InputError: There are several.
    """
    for folder in _FOLDERS:
        tables = sorted((source / folder).glob("*.csv"))
        tables = [table for table in tables if split_of_file(table.name) == split]
        if len(tables) > 1:
            names = ", ".join(table.name for table in tables)
            raise InputError(
                f"{source / folder} has several tables of {split}: {names}; move all but "
                "one elsewhere"
            )
        if tables:
            return tables[0]
    return None


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return f"a table of {split}, e.g. {_AS_RELEASED[split]}.csv"


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has a table of.

    A test set without labels, as Kinetics-400 was released with, is none.
    """
    tables = {split: table_of(source, split) for split in SPLITS}
    return [
        split
        for split, table in tables.items()
        if table is not None and (split != "eval" or _has_labels(table))
    ]


def _has_labels(table: Path) -> bool:
    # Any other column that lacks is for `read` to tell.
    header = [name.lower() for name in read_header(table, ",")]
    return "label" in header or "youtube_id" not in header


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
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default `CLASSES`. Clips of others are no part of the
        data set.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.

    Raises:
      InputError: The table is not there, is unreadable, lacks a column, or has no clip
        of the classes.
    """
    table = table_of(source, split)
    if table is None:
        raise InputError(f"{source} lacks {expected(split)}, also in annotations")
    if vocabulary is None:
        vocabulary = Vocabulary(f"{NAME}_{len(CLASSES)}", CLASSES)
    listing, segments = ClipListing(SINGLE), {}
    for line, values in read_table(table, ",", _COLUMNS):
        label, video, start, end = values or ("", "", "", "")
        onset, offset = seconds(start), seconds(end)
        # Some who wrote the tables anew called classes as their folders.
        label = composed(label.replace("_", " "))
        if not (label and video and 0 <= onset < offset < math.inf):
            what = f"label {label!r}, id {video!r}, times {start!r}, {end!r}"
            listing.reject("unreadable_line", table, line, what)
        elif label in vocabulary:
            clip = f"{video}_{round(onset):06d}_{round(offset):06d}"
            segments[clip] = segment_of(video, onset)
            listing.add(clip, offset - onset, [label], line)
    if not segments:
        raise InputError(
            f"{table}: no clip of any of the {len(vocabulary)} classes, e.g. "
            f"{vocabulary.names[0]!r}"
        )
    clips = listing.clips
    found = find_audio(source, exclude)
    names = [segments[clip] for clip in clips]
    audio = match_audio(names, found, listing.problems, clips)
    return listing.split(NAME, split, source, vocabulary, listing.build(audio))
