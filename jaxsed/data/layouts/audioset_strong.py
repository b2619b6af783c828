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
import unicodedata
from collections import Counter
from pathlib import Path

from jaxsed.data.layouts.source import (
    SourceClip,
    SourceSplit,
    find_audio,
    read_pairs,
    read_table,
)
from jaxsed.data.problems import Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

NAME = "audioset_strong"
SPLITS = ("train", "eval")
CLIP_SECONDS = 10.0
_COLUMNS = ("segment_id", "start_time_seconds", "end_time_seconds", "label")
_NAMES_FILE = "mid_to_display_name.tsv"


def table_path(source: Path, split: str) -> Path:
    """Returns where the annotation of a split lies."""
    return source / f"audioset_{split}_strong.tsv"


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has annotation for."""
    return [split for split in SPLITS if table_path(source, split).exists()]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
) -> SourceSplit:
    """Reads tables and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: `train` or `eval`.
      vocabulary: The classes; by default those the table uses.
      exclude: A folder in which not to look for audio.

    Raises:
      InputError: A table is missing, unreadable, or lacks a column.
    """
    table = table_path(source, split)
    if not table.is_file():
        raise InputError(
            f"{table} not found; expected the TSV of AudioSet Strong's {split} split"
        )
    annotation, problems = _read_annotation(table)
    if vocabulary is None:
        vocabulary = _vocabulary_of(annotation, source / _NAMES_FILE, split)
    durations = _read_durations(source, split, problems)
    found = find_audio(source, exclude)
    audio = _match_audio(list(annotation), found, source, split, problems)
    clips = tuple(
        SourceClip(
            clip,
            audio.get(clip),
            tuple(annotation[clip]),
            durations.get(clip, CLIP_SECONDS),
        )
        for clip in sorted(annotation)
    )
    return SourceSplit(NAME, split, source, vocabulary, clips, tuple(problems))


def _read_annotation(table: Path) -> tuple[dict[str, list[RawEvent]], list[Problem]]:
    annotation: dict[str, list[RawEvent]] = {}
    problems: list[Problem] = []
    for line, values in read_table(table, "\t", _COLUMNS):
        clip, onset, offset, label = values or ("", "", "", "")
        event = RawEvent(_seconds(onset), _seconds(offset), label, line)
        if not clip or not label:
            what = f"{table.name}, line {line}: too few values"
            problems.append(Problem(clip, "unreadable_line", what))
            continue
        events = annotation.setdefault(unicodedata.normalize("NFC", clip), [])
        if not (math.isfinite(event.onset) and math.isfinite(event.offset)):
            what = f"{table.name}, line {line}: times {onset!r}, {offset!r} not numbers"
            problems.append(Problem(clip, "unreadable_line", what))
            continue
        events.append(event)
    return annotation, problems


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _vocabulary_of(
    annotation: dict[str, list[RawEvent]], names_file: Path, split: str
) -> Vocabulary:
    name_of = read_pairs(names_file)
    used = {event.label for events in annotation.values() for event in events}
    mids = sorted((mid for mid in used if mid in name_of), key=name_of.__getitem__)
    if not mids:
        raise InputError(
            f"{names_file} names none of the {len(used)} labels in "
            f"{table_path(names_file.parent, split).name}; labels must be MIDs"
        )
    names = tuple(name_of[mid] for mid in mids)
    own = Vocabulary(f"{NAME}_{split}_{len(mids)}", names, tuple(mids))
    for shipped in map(vocab.load, vocab.SHIPPED):
        if shipped.hash == own.hash:
            return shipped
    return own


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
            seconds = _seconds(duration)
            if not file or not 0 < seconds < math.inf:
                what = f"{name}, line {line}: no duration in seconds"
                problems.append(Problem(file, "unreadable_line", what))
                continue
            for name_in_table in (file, Path(file).stem):
                durations[unicodedata.normalize("NFC", name_in_table)] = seconds
    return durations


def _match_audio(
    clips: list[str],
    found: dict[str, list[Path]],
    source: Path,
    split: str,
    problems: list[Problem],
) -> dict[str, Path]:
    """Chooses the sound file of every clip that has one."""
    others = set(SPLITS) - {split}
    of_video = Counter(clip.rpartition("_")[0] for clip in clips)

    def is_elsewhere(path: Path) -> bool:
        return not others.isdisjoint(path.relative_to(source).parts)

    matched = {}
    for clip in clips:
        video = clip.rpartition("_")[0]
        paths = found.get(clip, []) + found.get(f"Y{clip}", [])
        if video and of_video[video] == 1:
            paths += found.get(video, []) + found.get(f"Y{video}", [])
        # Ids need not differ between splits (mixed scenes are often just numbered).
        paths = [path for path in paths if not is_elsewhere(path)]
        if not paths:
            continue
        matched[clip] = paths[0]
        if len(paths) > 1:
            names = ", ".join(str(path.relative_to(source)) for path in paths[:4])
            problems.append(
                Problem(clip, "duplicate_audio", f"{names}: the first is used")
            )
    return matched
