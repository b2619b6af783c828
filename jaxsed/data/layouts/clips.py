"""A folder of sounds and a table of theirs: labels of whole clips, one or several each.

    SRC/*.csv or SRC/*.tsv      a line for every sound, or for every label of a sound
    SRC/**/*                    sound, in any sub-folders

The tables may also lie in SRC/meta, SRC/metadata or SRC/annotations; others are named.
Where there are several, those count that have a split's name (`train.csv`, `test.csv`).

Columns are found by their names (`clip_columns`), or named: the file, with or without
folder and ending; the label, or several in a cell; perhaps the split. The words train,
validation (val, dev, ...) and eval (test, ...) are splits. Where the column has folds
instead, those to evaluate on are named. Without such a column the name of the table says
the split; where it does not, sounds are chosen at random, by their names and a seed.

A clip is called by its file, without the folder that all have in common and without the
ending, and is of one split, however many lines it has. The classes are the labels of all tables, sorted; where all are AudioSet's, they
have its MIDs. A clip has one label, unless the column's name is in the plural (`labels`,
`tags`), a separator is given, or it is said that it has several.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxsed.data.layouts.clip_columns import TableOptions
from jaxsed.data.layouts.clip_listing import ClipListing, classes_of
from jaxsed.data.layouts.clip_tables import ClipRows, Row, tables_of
from jaxsed.data.layouts.matching import find_audio, match_paths
from jaxsed.data.layouts.source import CLIPS, SourceSplit
from jaxsed.data.layouts.splits import SPLITS
from jaxsed.data.problems import Problem
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_ids
from jaxsed.labels.vocab import Vocabulary

NAME = "clips"
ANNOTATIONS = (CLIPS,)
OPTIONS = TableOptions
_DEFAULTS = TableOptions()


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return "a table (.csv or .tsv) of files and labels"


def available_splits(source: Path, options: TableOptions = _DEFAULTS) -> list[str]:
    """Returns the splits that the tables have clips of.

    Raises:
      InputError: A table is unreadable or lacks a column, or splits are not clear.
    """
    tables = tables_of(source, options)
    listed = {row.split for row in ClipRows(tables, options).rows} if tables else ()
    return [split for split in SPLITS if split in listed]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = CLIPS,
    options: TableOptions = _DEFAULTS,
) -> SourceSplit:
    """Reads the tables and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default all labels of the tables.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.
      options: What the tables are and what is in them, where the defaults will not do.

    Raises:
      InputError: No table is there, one is unreadable or lacks a column, it is not clear
        what the splits are, a clip is in two, or there is none of this one.
    """
    tables = tables_of(source, options)
    if not tables:
        raise InputError(f"{source} lacks {expected(split)}; name it with --table")
    found = ClipRows(tables, options)
    split_of = _splits_of_clips(found.rows, tables)
    ids = clip_ids(split_of)
    listing = ClipListing(found.labels)
    for rejected in found.rejected:
        listing.reject(*rejected)
    for row in found.rows:
        if row.split == split:
            listing.add(ids[row.path], math.nan, row.labels, row.line)
    clips = listing.clips
    if not clips:
        names = " and ".join(table.name for table in tables)
        raise InputError(f"{names} in {tables[0].parent}: no clip of {split}")
    # Clips of all splits at once, as one may be called by the end of another's path.
    problems: list[Problem] = []
    sounds = match_paths(
        list(ids),
        list(ids.values()),
        find_audio(source, exclude),
        problems,
        in_one_folder=True,
    )
    sound_of, here = dict(zip(ids.values(), sounds)), set(clips)
    listing.problems += [problem for problem in problems if problem.clip in here]
    audio = [sound_of[clip] for clip in clips]
    vocabulary = vocabulary or _classes(found.rows, tables)
    return listing.split(NAME, split, source, vocabulary, listing.build(audio))


def _splits_of_clips(rows: Iterable[Row], tables: Sequence[Path]) -> dict[str, str]:
    """Returns path -> split, of every clip."""
    splits: dict[str, str] = {}
    for row in rows:
        if splits.setdefault(row.path, row.split) != row.split:
            names = " and ".join(table.name for table in tables)
            raise InputError(
                f"{names} in {tables[0].parent}: {row.path} is in {splits[row.path]} and "
                f"in {row.split}; a clip is in one split. Where these are two files, name "
                "them with their folders"
            )
    return splits


def _classes(rows: Iterable[Row], tables: Sequence[Path]) -> Vocabulary:
    lines: dict[str, int] = {}
    for row in rows:
        for label in row.labels:
            lines.setdefault(label, row.line)
    if not lines:
        raise InputError(f"{tables[0]}: no line has a label")
    alike: dict[str, str] = {}
    for label in lines:
        other = alike.setdefault(" ".join(label.split()).casefold(), label)
        if other != label:
            names = " and ".join(table.name for table in tables)
            raise InputError(
                f"{names} in {tables[0].parent}: {other!r} (line {lines[other]}) and "
                f"{label!r} (line {lines[label]}) differ in case or blanks alone; make "
                "them one, or give the classes with --vocabulary"
            )
    return classes_of(lines, NAME)
