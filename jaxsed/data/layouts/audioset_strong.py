"""AudioSet Strong as released (Hershey et al. 2021), and anything laid out like it.

    SRC/audioset_train_strong.tsv   segment_id, start_time_seconds, end_time_seconds, label
    SRC/audioset_eval_strong.tsv    the same; labels are MIDs (/m/09x0r)
    SRC/mid_to_display_name.tsv     MID TAB name, no header
    SRC/audioset_eval_durations.tsv or SRC/eval_durations.csv (optional; same for train)
                                    filename, duration
    SRC/**/SEGMENT_ID.*             audio, in any sub-folders, e.g. audio/train

A segment id is the YouTube id, `_`, and the start in milliseconds. A sound file may be
called by the segment id or by the YouTube id, either with a `Y` in front; what lies in a
folder called as another split is not looked at. Ten seconds is what a clip should last
unless durations are listed.

Classes: every split has its own vocabulary, the labels its table uses, sorted by display
name. In AudioSet these are 447 for train, in the order of the released heads, and 416 for
eval. 407 are common to both; models are scored on the common ones
(`Vocabulary.common_with`). A vocabulary given by hand serves all splits.
"""

import math
from collections.abc import Iterable
from pathlib import Path

from jaxsed.data.layouts.matching import Found, find_audio, match_audio
from jaxsed.data.layouts.source import (
    AUDIOSET_CLIP_SECONDS,
    FRAMES,
    ClipTableBuilder,
    SourceSplit,
)
from jaxsed.data.problems import Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.clip_names import composed
from jaxsed.labels.tables import read_pairs, read_table
from jaxsed.labels.vocab import Vocabulary

NAME = "audioset_strong"
SPLITS = ("train", "eval")
ANNOTATIONS = (FRAMES,)
_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
_NAMES_FILE = "mid_to_display_name.tsv"


def table_path(source: Path, split: str) -> Path:
    """Returns where the annotation of a split lies."""
    return source / f"audioset_{split}_strong.tsv"


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return table_path(Path(), split).name


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has annotation for."""
    return [split for split in SPLITS if table_path(source, split).exists()]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = FRAMES,
) -> SourceSplit:
    """Reads tables and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train` or `eval`.
      vocabulary: The classes; by default those the table uses.
      exclude: A folder in which not to look for audio.
      annotation: There is but `frames`.

    Raises:
      InputError: A table is missing, unreadable, or lacks a column.
    """
    # Ids need not differ between splits (mixed scenes are often just numbered).
    found = find_audio(source, exclude, set(SPLITS) - {split})
    return annotate(source, split, vocabulary, found, NAME)


def annotate(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None,
    found: Iterable[Found],
    layout: str,
) -> SourceSplit:
    """Reads the tables, and gives the clips the sounds that were found.

    Raises:
      InputError: A table is missing, unreadable, or lacks a column.
    """
    table = table_path(source, split)
    if not table.is_file():
        raise InputError(
            f"{table} not found; expected the TSV of AudioSet Strong's {split} split"
        )
    problems: list[Problem] = []
    durations = _read_durations(source, split, problems)
    clips = _read_annotation(table, durations, problems)
    if vocabulary is None:
        vocabulary = _vocabulary_of(clips.labels, source / _NAMES_FILE, split)
    audio = match_audio(clips.ids, found, problems)
    return SourceSplit(
        layout, split, source, vocabulary, clips.build(audio), tuple(problems)
    )


def _read_annotation(
    table: Path, durations: dict[str, float], problems: list[Problem]
) -> ClipTableBuilder:
    clips = ClipTableBuilder()
    for line, values in read_table(table, "\t", _COLUMNS):
        clip, onset, offset, label = values or ("", "", "", "")
        event = RawEvent(seconds(onset), seconds(offset), label, line)
        if not clip or not label:
            what = f"{table.name}, line {line}: too few values"
            problems.append(Problem(clip, "unreadable_line", what))
            continue
        clip = composed(clip)
        row = clips.add_clip(clip, durations.get(clip, AUDIOSET_CLIP_SECONDS))
        if not (math.isfinite(event.onset) and math.isfinite(event.offset)):
            what = f"{table.name}, line {line}: times {onset!r}, {offset!r} not numbers"
            problems.append(Problem(clip, "unreadable_line", what))
            continue
        clips.add_event(row, event)
    return clips


def seconds(text: str) -> float:
    """Reads a number; NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _vocabulary_of(labels: list[str], names_file: Path, split: str) -> Vocabulary:
    name_of = read_pairs(names_file)
    mids = sorted((mid for mid in labels if mid in name_of), key=name_of.__getitem__)
    if not mids:
        raise InputError(
            f"{names_file} names none of the {len(labels)} labels in "
            f"{table_path(names_file.parent, split).name}; labels must be MIDs"
        )
    names = tuple(name_of[mid] for mid in mids)
    own = Vocabulary(f"{NAME}_{split}_{len(mids)}", names, tuple(mids))
    return shipped_or(own)


def shipped_or(own: Vocabulary) -> Vocabulary:
    """Returns the shipped list with the same classes in the same order, if any."""
    shipped = {known.hash: known for known in map(vocab.load, vocab.SHIPPED)}
    return shipped.get(own.hash, own)


def _read_durations(
    source: Path, split: str, problems: list[Problem]
) -> dict[str, float]:
    durations: dict[str, float] = {}
    for name, delimiter in (
        (f"audioset_{split}_durations.tsv", "\t"),
        (f"{split}_durations.csv", ","),
    ):
        path = source / name
        if durations or not path.is_file():
            continue
        for line, values in read_table(path, delimiter, ("filename", "duration")):
            file, duration = values or ("", "")
            listed = seconds(duration)
            if not file or not 0 < listed < math.inf:
                what = f"{name}, line {line}: no duration in seconds"
                problems.append(Problem(file, "unreadable_line", what))
                continue
            for name_in_table in (file, Path(file).stem):
                durations[composed(name_in_table)] = listed
    return durations
