"""What every layout turns a data set into: clips with a sound and raw annotation.

Two million clips are normal, so they are held as columns (`ClipTable`) and handed out
one by one (`SourceClip`).
"""

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.data.problems import Problem, RawEvent
from jaxsed.labels.vocab import Vocabulary

FRAMES, CLIPS, NONE = "frames", "clips", "none"
SINGLE, MULTI = "single", "multi"
AUDIOSET_CLIP_SECONDS = 10.0  # what a clip of AudioSet should last


class SourceClip(NamedTuple):
    """One clip of a data set.

    Attributes:
      id: Unique in the split.
      audio: Where its sound is; None if there is none.
      events: Its annotation as read. A label of the whole clip is an event from 0 to
        infinity: `WHOLE_CLIP`; that nothing sounds is one too: `NOTHING`. Without any
        the clip is left out.
      listed_seconds: How long the data set says it is, seconds; NaN if it does not.
    """

    id: str
    audio: AudioSource | None
    events: tuple[RawEvent, ...]
    listed_seconds: float


class ClipTable(Sequence[SourceClip]):
    """The clips of a split, sorted by id; built by `ClipTableBuilder`."""

    def __init__(
        self,
        ids: list[str],
        audio: list[AudioSource | None],
        listed_seconds: np.ndarray,
        first_event: np.ndarray,
        events: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        labels: list[str],
    ):
        """Takes the columns.

        Args:
          ids: `[clips]`.
          audio: `[clips]`.
          listed_seconds: float64 `[clips]`.
          first_event: int64 `[clips + 1]`: clip i has events `first_event[i]` to
            `first_event[i + 1]`.
          events: Onsets and offsets (float64, seconds), labels (index into `labels`)
            and lines, each `[events]`.
          labels: As spelled in the data set.
        """
        self._ids, self._audio = ids, audio
        self._listed_seconds = listed_seconds
        self._first_event, self._events = first_event, events
        self._labels = labels

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, which):
        """Returns a clip by index, or a tuple of clips by slice or index array."""
        if isinstance(which, slice):
            which = range(len(self))[which]
        if isinstance(which, (range, np.ndarray)):
            return tuple(self[int(i)] for i in which)
        if which < 0:
            which += len(self)
        rows = slice(self._first_event[which], self._first_event[which + 1])
        columns = [column[rows].tolist() for column in self._events]
        columns[2] = [self._labels[label] for label in columns[2]]
        return SourceClip(
            self._ids[which],
            self._audio[which],
            tuple(map(RawEvent, *columns)),
            float(self._listed_seconds[which]),
        )

    def __iter__(self) -> Iterator[SourceClip]:
        return (self[i] for i in range(len(self)))

    @property
    def audio(self) -> Sequence[AudioSource | None]:
        """The sound of every clip."""
        return self._audio

    @property
    def has_audio(self) -> bool:
        """Whether any clip has a sound."""
        return any(audio is not None for audio in self._audio)

    def reading_order(self) -> np.ndarray:
        """Returns int64 `[clips]`: an order in which reading the sounds is fast.

        That of the ids where each has a file of its own; that of the rows in packs.
        """
        packs: dict = {}
        pack = np.zeros(len(self), np.int32)
        row = np.zeros(len(self), np.int64)
        for i, source in enumerate(self._audio):
            if source is not None and source.container.in_order:
                pack[i] = packs.setdefault(source.container, len(packs) + 1)
                row[i] = source.place
        by_name = sorted(packs, key=lambda container: container.file(0))
        rank = np.zeros(len(packs) + 1, np.int32)
        rank[[packs[container] for container in by_name]] = range(1, len(packs) + 1)
        return np.lexsort((row, rank[pack]))  # stable: ties stay in the order of ids


class ClipTableBuilder:
    """Collects clips and their annotation in any order."""

    def __init__(self):
        """Starts without clips."""
        self._rows: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._listed_seconds = array("d")
        self._clip, self._label, self._line = array("i"), array("i"), array("q")
        self._onset, self._offset = array("d"), array("d")

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, clip: object) -> bool:
        return clip in self._rows

    @property
    def ids(self) -> list[str]:
        """Ids in the order in which clips were first added."""
        return list(self._rows)

    @property
    def labels(self) -> list[str]:
        """The labels in use, in the order of their first event."""
        return list(self._codes)

    def add_clip(self, clip: str, listed_seconds: float) -> int:
        """Adds a clip unless it is there; returns its row."""
        row = self._rows.setdefault(clip, len(self._rows))
        if row == len(self._listed_seconds):
            self._listed_seconds.append(listed_seconds)
        return row

    def add_event(self, row: int, event: RawEvent) -> None:
        """Adds a piece of annotation to the clip that `add_clip` gave the row of."""
        onset, offset, label, line = event
        self._clip.append(row)
        self._onset.append(onset)
        self._offset.append(offset)
        self._label.append(self._codes.setdefault(label, len(self._codes)))
        self._line.append(line)

    def build(
        self, audio: Sequence[AudioSource | None], ids: Sequence[str] | None = None
    ) -> ClipTable:
        """Returns the table.

        Args:
          audio: The sound of each clip, in the order of `self.ids`.
          ids: What to call the clips instead, in the same order; unique.
        """
        ids = self.ids if ids is None else ids
        order = sorted(range(len(ids)), key=ids.__getitem__)
        new_row = np.empty(len(ids), np.int64)
        new_row[order] = np.arange(len(ids))
        clip = new_row[np.array(self._clip, np.int64)]
        by_clip = np.argsort(clip, kind="stable")
        columns = self._onset, self._offset, self._label, self._line
        n_events = np.bincount(clip, minlength=len(ids))
        return ClipTable(
            [ids[row] for row in order],
            [audio[row] for row in order],
            np.array(self._listed_seconds, np.float64)[order],
            np.concatenate([[0], np.cumsum(n_events)]).astype(np.int64),
            tuple(np.array(column)[by_clip] for column in columns),
            self.labels,
        )


class SourceSplit(NamedTuple):
    """One split of a data set on disk.

    Attributes:
      layout: Name of the layout.
      split: Name of the split.
      root: The folder that was read.
      vocabulary: The classes.
      clips: Sorted by id.
      problems: What was wrong with the tables.
      annotation: `frames` (events with times), `clips` (labels of whole clips) or `none`
        (sounds alone).
      labels: `single` where classes exclude each other, so that a clip has just one;
        else `multi`.
      merges_events: Whether events of a class that overlap or touch become one, as the
        code that comes with AudioSet Strong does. Measures that count onsets want the
        events as they were annotated.
    """

    layout: str
    split: str
    root: Path
    vocabulary: Vocabulary
    clips: ClipTable
    problems: tuple[Problem, ...]
    annotation: str = FRAMES
    labels: str = MULTI
    merges_events: bool = True

    @property
    def has_audio(self) -> bool:
        """Whether any clip has a sound."""
        return self.clips.has_audio
