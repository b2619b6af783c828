"""Parquet files with the sounds inside, as Hugging Face data sets are published.

    SRC/**/*.parquet        e.g. data/train-00000-of-00010.parquet, data/bal_train/00.parquet

Columns that are looked for; the first that is there counts, others are not read:

* sound: `audio`, a structure with `bytes` (Hugging Face's `Audio`) or plain bytes; else
  `mp3_bytes` or `audio_bytes`. wav, flac, ogg, opus, mp3.
* id: `segment_id`, `video_id`, `clip_id`, `id`, `filename`, `file_name`; else the `path`
  within `audio`. Of names of files, folder and ending are left off.
* `frames`, events with times: `events`, a list of structures or a structure of lists; else
  lists side by side. The times are called `onset` or `start` and `offset` or `end` (also
  `onsets`, `start_time`, `start_time_seconds`, ...), seconds from the start of the clip;
  the label `event_label_id`, `event_label`, `label` or a plural of these.
* `clips`, labels of whole clips: `label_ids`, `labels`, `label` or `human_labels`: one, or
  a list of them. Numbers are looked up in the `ClassLabel` of the file.

Labels are MIDs or names. Where a file has both kinds of annotation, frames are taken
unless clips are asked for.

The split of a file is in its name, or else in the nearest folder below SRC that has one,
as on the Hub: `train`, `training`; `validation`, `valid`, `val`, `dev`; `test`, `testing`,
`eval`, `evaluation` (called `eval` here). A file without belongs to `train`.

Classes: those of `ClassLabel`; else the 527 of AudioSet if they hold all labels of clips;
else the labels the split uses, sorted by name. Labels that are all in one of AudioSet's
lists get its names and MIDs.
"""

import math
from pathlib import Path

from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.data.layouts.audioset_strong import shipped_or
from jaxsed.data.layouts.matching import walk
from jaxsed.data.layouts.parquet_audio import ParquetAudio, open_parquet
from jaxsed.data.layouts.parquet_columns import find_columns, read_rows
from jaxsed.data.layouts.source import (
    CLIPS,
    FRAMES,
    MULTI,
    SINGLE,
    ClipTableBuilder,
    SourceSplit,
)
from jaxsed.data.layouts.splits import SPLITS, WORDS, split_of_file
from jaxsed.data.problems import Problem, RawEvent
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary

NAME = "huggingface_parquet"
ANNOTATIONS = (FRAMES, CLIPS)


def files_of(source: Path, split: str, exclude: Path | None = None) -> list[str]:
    """Returns the parquet files of a split, relative to `source`, sorted."""
    return sorted(
        folder + file
        for folder, files in walk(source, exclude)
        for file in files
        if file.endswith(".parquet") and not file.startswith(".")
        if _split_of(folder + file, source) == split
    )


def _split_of(name: str, source: Path) -> str:
    # The whole name: SRC may lie anywhere, and be called "best of train 3".
    named = (split for split in SPLITS if source.name.lower() in WORDS[split])
    return split_of_file(name) or next(named, "train")


def expected(split: str) -> str:
    """Returns what a folder must hold to have the split."""
    return f"parquet files of {split}"


def available_splits(source: Path) -> list[str]:
    """Returns the splits that `source` has files of."""
    return [split for split in SPLITS if files_of(source, split)]


def read(
    source: Path,
    split: str,
    vocabulary: Vocabulary | None = None,
    exclude: Path | None = None,
    annotation: str | None = None,
) -> SourceSplit:
    """Reads ids and labels; no sound.

    Args:
      source: The folder.
      split: `train`, `validation` or `eval`.
      vocabulary: The classes; by default as the module says.
      exclude: A folder in which not to look for files.
      annotation: `frames` or `clips`; by default what is there, frames first.

    Raises:
      InputError: There is no file of the split, one is unreadable or lacks a column,
        or pyarrow is missing.
    """
    names = files_of(source, split, exclude)
    if not names:
        raise InputError(
            f"no parquet file of {split} in {source}; a file's name, or its folder's, "
            f"says its split: {', '.join(sorted(WORDS[split]))}"
        )
    listing = _Listing(source, annotation)
    refused = []
    for name in names:
        try:
            listing.add_file(name)
        except InputError as error:
            refused.append(error)
    if refused:
        more = f" (and {len(refused) - 1} files more)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0]}{more}")
    return SourceSplit(
        NAME,
        split,
        source,
        vocabulary or listing.vocabulary(split),
        listing.clips.build(listing.audio),
        tuple(listing.problems),
        listing.annotation,
        SINGLE if listing.one_label else MULTI,
    )


class _Listing:
    """What the files of a split hold, sounds left alone.

    Attributes:
      clips: Ids and annotation.
      audio: The sound of each clip.
      problems: What was wrong with rows.
      annotation: `frames` or `clips`: what was asked for, or the first file has.
      one_label: Whether no file has room for several labels of a clip.
    """

    def __init__(self, source: Path, annotation: str | None):
        self.clips = ClipTableBuilder()
        self.audio: list[AudioSource] = []
        self.problems: list[Problem] = []
        self.annotation = annotation
        self.one_label = True
        self._source = source
        self._class_names: tuple[str, ...] | None = None

    def add_file(self, name: str) -> None:
        """Reads all of a file but its sounds."""
        path = self._source / name
        with open_parquet(path) as file:
            columns = find_columns(file.schema_arrow, path, self.annotation)
            self.annotation = columns.annotation
            self._class_names = columns.class_names
            self.one_label &= columns.one_label
            container = ParquetAudio(self._source, name, columns.audio)
            for place, (clip, events) in enumerate(read_rows(file, columns)):
                self._add_row(clip, events, AudioSource(container, place))

    def _add_row(self, clip: str, events: list[RawEvent], sound: AudioSource) -> None:
        if not clip:
            what = f"{sound.name}: the row has no id"
            self.problems.append(Problem("", "unreadable_line", what))
            return
        if clip in self.clips:
            what = f"{sound.name}: not used, the clip is there already"
            self.problems.append(Problem(clip, "duplicate_audio", what))
            return
        row = self.clips.add_clip(clip, math.nan)
        self.audio.append(sound)
        for event in events:
            self.clips.add_event(row, event)

    def vocabulary(self, split: str) -> Vocabulary:
        """Returns the classes of the files, as the module says."""
        labels = self._class_names or list(filter(None, self.clips.labels))
        if not labels:
            raise InputError(f"no row of {split} has a label")
        whole, train, evaluation = map(vocab.load, vocab.SHIPPED)
        if self.annotation == CLIPS and all(label in whole for label in labels):
            return whole
        classes = [(label, None) for label in labels]
        for known in (train, evaluation, whole):
            if all(label in known for label in labels):
                places = map(known.index, labels)
                classes = [(known.names[k], known.mids[k]) for k in places]
                break
        classes = list(dict.fromkeys(classes))
        if self._class_names is None:  # which are in the order of their numbers
            classes.sort(key=lambda pair: pair[0])
        own = Vocabulary(f"{NAME}_{split}_{len(classes)}", *zip(*classes))
        return shipped_or(own)
