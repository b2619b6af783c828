"""AudioSet as released (Gemmeke et al. 2017): labels of whole clips.

    SRC/balanced_train_segments.csv      # comment lines, then
    SRC/unbalanced_train_segments.csv    YTID, start_seconds, end_seconds, "mid,mid"
    SRC/eval_segments.csv
    SRC/**/YTID.*                        audio, in any sub-folders

The tables may also lie in SRC/metadata. A sound file may be called by the YouTube id, or
by the segment id (`YTID_30000`: the start in milliseconds), either with a `Y` in front.

The split `train` is balanced and unbalanced together, as far as they are there;
`balanced_train` and `unbalanced_train` can be asked for by name. A clip is called by its
YouTube id (by its segment id, should a video have several), lasts what the table says,
and has its labels from its start to its end. The classes are the 527 of AudioSet.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from jaxsed.data.layouts.audioset_strong import seconds
from jaxsed.data.layouts.matching import (
    find_audio,
    match_audio,
    shared_videos,
    video_of,
)
from jaxsed.data.layouts.source import CLIPS, ClipTableBuilder, SourceSplit
from jaxsed.data.problems import WHOLE_CLIP, Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.tables import read_rows
from jaxsed.labels.vocab import Vocabulary

NAME = "audioset_weak"
SPLITS = ("train", "eval")
ANNOTATIONS = (CLIPS,)
VOCABULARY = "audioset_527"
# Which of the released files a split is made of.
PARTS = {
    "train": ("balanced_train", "unbalanced_train"),
    "eval": ("eval",),
    "balanced_train": ("balanced_train",),
    "unbalanced_train": ("unbalanced_train",),
}


def parts_in(folders: tuple[Path, ...], split: str, ending: str) -> list[Path]:
    """Returns the files of a split's parts that are there, the first folder first."""
    places = (
        [folder / f"{part}_segments{ending}" for folder in folders]
        for part in PARTS[split]
    )
    found = (next(filter(Path.is_file, paths), None) for paths in places)
    return [path for path in found if path is not None]


def tables(source: Path, split: str) -> list[Path]:
    """Returns the tables of a split that are there."""
    return parts_in((source, source / "metadata"), split, ".csv")


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return " or ".join(f"{part}_segments.csv" for part in PARTS[split])


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has annotation for."""
    return [split for split in SPLITS if tables(source, split)]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str = CLIPS,
) -> SourceSplit:
    """Reads tables and finds audio; opens no sound file.

    Args:
      source: The folder.
      split: A key of `PARTS`.
      vocabulary: The classes; by default all 527.
      exclude: A folder in which not to look for audio.
      annotation: There is but `clips`.

    Raises:
      InputError: No table is there, or one is unreadable.
    """
    paths = tables(source, split)
    if not paths:
        raise InputError(f"no {expected(split)} in {source} or {source / 'metadata'}")
    clips, problems = ClipTableBuilder(), []
    for path in paths:
        for segment, listed_seconds, labels, line in _segments(path, problems):
            row = clips.add_clip(segment, listed_seconds)
            for label in labels:
                clips.add_event(row, RawEvent(*WHOLE_CLIP, label, line))
    segments = clips.ids
    if not segments:
        names = " and ".join(path.name for path in paths)
        raise InputError(
            f"{names} in {paths[0].parent}: no line can be read as YTID, start_seconds, "
            'end_seconds, "labels"'
        )
    shared = shared_videos(segments)
    ids = [
        segment if (video := video_of(segment)) in shared else video
        for segment in segments
    ]
    audio = match_audio(segments, find_audio(source, exclude), problems)
    return SourceSplit(
        NAME,
        split,
        source,
        vocabulary or vocab.load(VOCABULARY),
        clips.build(audio, ids),
        tuple(problems),
        CLIPS,
    )


def _segments(
    table: Path, problems: list[Problem]
) -> Iterator[tuple[str, float, list[str], int]]:
    """Yields segment id, length in seconds, labels and line."""
    for line, cells in read_rows(table, ",", comment="#"):
        video, start, end, labels = (cells + [""] * 4)[:4]
        labels = [label.strip() for label in labels.split(",") if label.strip()]
        onset, offset = seconds(start), seconds(end)
        if not video or not labels:
            what = f"{table.name}, line {line}: too few values"
        elif not 0 <= onset < offset < math.inf:
            what = f"{table.name}, line {line}: times {start!r}, {end!r}"
        else:
            yield f"{video}_{round(1000 * onset)}", offset - onset, labels, line
            continue
        problems.append(Problem(video, "unreadable_line", what))
