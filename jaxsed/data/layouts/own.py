"""A folder of your own recordings, of any length, with labels of events.

    SRC/*.csv or SRC/*.tsv      a line an event: filename, onset, offset, event_label;
                                perhaps split
or  SRC/**/a.txt                a label track of Audacity beside each recording a.wav
or  SRC/**/a.Table.1.selections.txt     selection tables of Raven beside them, or of
                                        several recordings by their names

Tables may also lie in SRC/meta, SRC/metadata or SRC/annotations; columns are found by
their names (`event_columns`), times are seconds. A line with a file and blanks says that
nothing sounds in it, and so do a label track and a selection table without events. Of a
recording that nothing is said of, an option tells what it is.

Splits are those of a column, or of the names of the tables, else recordings are chosen
at random, by their names and a seed; a recording is in one split as a whole. The classes
are all labels, sorted, the same for all splits. A recording is called by its path,
without the folder that all have in common and without the ending.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxsed.data.layouts.clip_listing import classes_of
from jaxsed.data.layouts.clip_tables import tables_of
from jaxsed.data.layouts.event_columns import (
    AUDACITY,
    NOTHING_SOUNDS,
    RAVEN,
    TABLE,
    EventOptions,
)
from jaxsed.data.layouts.event_lines import (
    Line,
    find_label_files,
    lines_of_audacity,
    lines_of_raven,
    lines_of_table,
)
from jaxsed.data.layouts.event_listing import EventListing, is_blank, is_label
from jaxsed.data.layouts.matching import (
    Found,
    find_audio,
    match_paths,
    path_of,
    unclaimed,
)
from jaxsed.data.layouts.raven_files import RavenFiles
from jaxsed.data.layouts.source import FRAMES, SourceSplit
from jaxsed.data.layouts.splits import SPLITS, split_of_file
from jaxsed.data.layouts.table_splits import SplitTable, assign_splits, unknown
from jaxsed.data.problems import Problem
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import clip_ids
from jaxsed.labels.vocab import Vocabulary

NAME = "own"
ANNOTATIONS = (FRAMES,)
OPTIONS = EventOptions
_DEFAULTS = EventOptions()


class _Labels(NamedTuple):
    """All labels of a folder, and its sounds.

    Attributes:
      lines: What is said, of all recordings.
      splits: Recording -> split, of those that have one.
      problems: What belongs to no recording that is used.
      sounds: What may be the sounds of the recordings.
    """

    lines: list[Line]
    splits: dict[str, str]
    problems: list[Problem]
    sounds: list[Found]


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return (
        "a table (.csv or .tsv) of files and events, or label files of Audacity (a.txt) "
        "or Raven (a.Table.1.selections.txt) beside the recordings"
    )


def available_splits(source: Path, options: EventOptions = _DEFAULTS) -> list[str]:
    """Returns the splits that there are recordings of.

    Raises:
      InputError: A table is unreadable or lacks a column, or splits are not clear.
    """
    labels = _read_labels(source, None, options)
    there = set(labels.splits.values()) if labels else ()
    return [split for split in SPLITS if split in there]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = FRAMES,
    options: EventOptions = _DEFAULTS,
) -> SourceSplit:
    """Reads the labels and finds the recordings; opens no sound file.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default all labels there are.
      exclude: A folder in which not to look.
      annotation: There is but `frames`.
      options: Where the labels are and what is in them, where the defaults will not do.

    Raises:
      InputError: There are no labels, a table is unreadable or lacks a column, it is not
        clear what the splits are or of which of several recordings a line is, or there
        is no recording of this split.
    """
    labels = _read_labels(source, exclude, options)
    if labels is None:
        raise InputError(f"{source} lacks {expected(split)}")
    ids = clip_ids(labels.splits)
    listing = EventListing()
    listing.problems += labels.problems
    for line in labels.lines:
        if line.path and labels.splits.get(line.path) != split:
            continue
        clip = ids.get(line.path, "")
        if line.wrong:
            listing.reject(clip, line.file, line.number, line.wrong)
        else:
            listing.add_row(clip, line.times, line.label, line.file, line.number)
    if not listing.clips:
        raise InputError(f"{source}: no recording of {split}")
    # All recordings at once, as one may be called by the end of another's path.
    problems: list[Problem] = []
    paths = list(ids)
    clips = [ids[path] for path in paths]
    sounds = match_paths(paths, clips, labels.sounds, problems, in_one_folder=True)
    sound_of = dict(zip(ids.values(), sounds))
    audio = [sound_of[clip] for clip in listing.clips]
    here = set(listing.clips)
    listing.problems += [problem for problem in problems if problem.clip in here]
    vocabulary = vocabulary or _classes(labels.lines, source)
    return listing.split(NAME, split, source, vocabulary, audio)


def _classes(lines: Iterable[Line], source: Path) -> Vocabulary:
    labels: dict[str, Line] = {}
    for line in lines:
        says_event = is_label(line.label) and not is_blank(line.times, line.label)
        if says_event and not line.wrong:
            labels.setdefault(line.label, line)
    if not labels:
        raise InputError(f"{source}: nothing has a label")
    alike: dict[str, Line] = {}
    for label, line in labels.items():
        other = alike.setdefault(" ".join(label.split()).casefold(), line)
        if other is not line:
            raise InputError(
                f"{other.label!r} ({other.file}, line {other.number}) and {label!r} "
                f"({line.file}, line {line.number}) differ in case or blanks alone; make "
                "them one, or give the classes with --vocabulary"
            )
    return classes_of(labels, NAME)


def _read_labels(
    source: Path, exclude: Path | None, options: EventOptions
) -> _Labels | None:
    """Reads everything that is said of the recordings; None if there is nothing."""
    found = list(find_audio(source, exclude))
    problems: list[Problem] = []
    tables = tables_of(source, options) if options.label_format in (None, TABLE) else []
    if tables:
        lines, says = _read_tables(tables, options)
        paths = {line.path for line in lines if line.path}
        unlabelled = unclaimed(sorted(paths), found)
    else:
        lines = _read_label_files(source, exclude, found, options)
        lines = _with_sound(lines, set(map(path_of, found)), problems)
        paths = {line.path for line in lines if line.path}
        says = [SplitTable(source, sorted(paths), None, None)]
        # A label file is of the recording beside it and of no other.
        unlabelled = unclaimed(
            [], [each for each in found if path_of(each) not in paths]
        )
        found = [each for each in found if path_of(each) in paths]
        found += unlabelled if options.unlabelled == NOTHING_SOUNDS else []
    if not lines:
        return None
    if options.unlabelled == NOTHING_SOUNDS:
        silent = sorted(set(map(path_of, unlabelled)))
        if silent and any(table.says_splits for table in says):
            raise InputError(
                f"--unlabelled {NOTHING_SOUNDS}: no table says which split {silent[0]} "
                f"and {len(silent) - 1} others are of; give each a line with file, split "
                "and nothing else"
            )
        lines += [Line(path) for path in silent]
        says.append(SplitTable(source, silent, None, None))
    else:
        problems += [Problem("", "unlabelled", sound.name) for _, sound in unlabelled]
    splits = _splits_of_recordings(says, options, problems)
    return _Labels(lines, splits, problems, found)


def _read_tables(
    tables: Sequence[Path], options: EventOptions
) -> tuple[list[Line], list[SplitTable]]:
    lines: list[Line] = []
    says = []
    for table in tables:
        of_table, has_splits = lines_of_table(table, options)
        lines += of_table
        paths = [line.path for line in of_table if line.path]
        values = [line.split for line in of_table if line.path]
        named = split_of_file(table.name)
        says.append(SplitTable(table, paths, values if has_splits else None, named))
    return lines, says


def _read_label_files(
    source: Path, exclude: Path | None, found: Sequence[Found], options: EventOptions
) -> list[Line]:
    """Reads Raven's files, or where there are none Audacity's, unless it is said which."""
    formats = (options.label_format,) if options.label_format else (RAVEN, AUDACITY)
    paths = set(map(path_of, found))
    files = RavenFiles(paths)
    for label_format in formats if TABLE not in formats else ():
        lines: list[Line] = []
        for path, file in find_label_files(source, exclude, label_format):
            if label_format == RAVEN:
                lines += lines_of_raven(path, file, options, files)
            else:
                lines += lines_of_audacity(path, file, path in paths)
        if lines:
            return lines
    return []


def _with_sound(
    lines: Sequence[Line], paths: set[str], problems: list[Problem]
) -> list[Line]:
    """Returns the lines of recordings that are there, if any is.

    A label track that was saved under another name ("Label Track.txt") must not take
    the place of a recording when splits are drawn.
    """
    without = {
        line.path: line for line in lines if line.path and line.path not in paths
    }
    if without.keys() >= {line.path for line in lines if line.path}:
        return list(lines)
    problems += [
        Problem("", "missing", f"{line.file}: no recording {path} beside it")
        for path, line in sorted(without.items())
    ]
    return [line for line in lines if line.path not in without]


def _splits_of_recordings(
    says: Sequence[SplitTable], options: EventOptions, problems: list[Problem]
) -> dict[str, str]:
    """Returns recording -> split; of the lines of a recording it is enough if one says."""
    splits: dict[str, str] = {}
    unsaid: dict[str, str] = {}
    for table, of_lines in zip(says, assign_splits(says, options)):
        for row, (path, split) in enumerate(zip(table.clips, of_lines)):
            if split is None:
                what = f"{table.path.name}, {path}: {unknown(table.values[row])}"
                unsaid.setdefault(path, what)
            elif splits.setdefault(path, split) != split:
                raise InputError(
                    f"{table.path}: {path} is in {splits[path]} and in {split}; a "
                    "recording is in one split as a whole"
                )
    problems += [
        Problem("", "unknown_split", what)
        for path, what in unsaid.items()
        if path not in splits
    ]
    return splits
