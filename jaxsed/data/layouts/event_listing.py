"""From what tables and files say of events to a `SourceSplit`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.data.layouts.source import FRAMES, ClipTableBuilder, SourceSplit
from jaxsed.data.problems import NOTHING, Problem, RawEvent
from jaxsed.labels.tables import seconds_in
from jaxsed.labels.vocab import Vocabulary

_NO_LABEL = ("", "nan")  # pandas may write either
_BLANK = (*_NO_LABEL, "na")  # R's way; a label alone may be called so


class EventListing:
    """The clips of one split with their events, as they are read.

    Attributes:
      problems: What was wrong.
    """

    def __init__(self, listed_seconds: Mapping[str, float] | None = None):
        """Starts empty.

        Args:
          listed_seconds: How long the data set says that clips are; NaN for others.
        """
        self.problems: list[Problem] = []
        self._listed_seconds = listed_seconds or {}
        self._clips = ClipTableBuilder()

    @property
    def clips(self) -> list[str]:
        """The clips, in the order in which they were first added."""
        return self._clips.ids

    @property
    def labels(self) -> list[str]:
        """The labels in use."""
        return [label for label in self._clips.labels if label]

    def add_row(
        self, clip: str, times: tuple[str, str], label: str, table: str, line: int
    ) -> None:
        """Adds what a line says: an event, or that there is none, if all is blank.

        A line that says neither is noted as unreadable. The clip is added all the same.

        Args:
          clip: Which clip it is of.
          times: Onset and offset in seconds, as written.
          label: The class.
          table: Name of the file, for the note.
          line: Of the file.
        """
        if is_blank(times, label):
            self.add_nothing(clip, line)
            return
        onset, offset = map(seconds_in, times)
        if not (math.isfinite(onset) and math.isfinite(offset)):
            what = f"times {times[0]!r}, {times[1]!r} are not numbers"
            self.reject(clip, table, line, what)
        elif not is_label(label):
            self.reject(clip, table, line, "no label")
        else:
            self.add_event(clip, RawEvent(onset, offset, label, line))

    def add_event(self, clip: str, event: RawEvent) -> None:
        """Adds an event."""
        self._clips.add_event(self._add(clip), event)

    def add_nothing(self, clip: str, line: int = 0) -> None:
        """Adds that a clip has no event: it is kept."""
        self.add_event(clip, RawEvent(*NOTHING, line))

    def reject(self, clip: str, table: str, line: int, what: str) -> None:
        """Notes a line that cannot be used; "" as the clip if it is of none."""
        if clip:
            self._add(clip)
        where = f"{table}, line {line}" if line else table
        self.problems.append(Problem(clip, "unreadable_line", f"{where}: {what}"))

    def _add(self, clip: str) -> int:
        return self._clips.add_clip(clip, self._listed_seconds.get(clip, math.nan))

    def split(
        self,
        layout: str,
        split: str,
        source: Path,
        vocabulary: Vocabulary,
        audio: Sequence[AudioSource | None],
    ) -> SourceSplit:
        """Returns the split that these clips are.

        Args:
          layout: Its name.
          split: Name of the split.
          source: The folder that was read.
          vocabulary: The classes.
          audio: The sound of each clip, in the order of `self.clips`.
        """
        clips, problems = self._clips.build(audio), tuple(self.problems)
        return SourceSplit(
            layout,
            split,
            source,
            vocabulary,
            clips,
            problems,
            FRAMES,
            merges_events=False,
        )


def is_blank(times: tuple[str, str], label: str) -> bool:
    """Whether a line says that nothing sounds: its cells are empty, or as good as that."""
    return all(cell.lower() in _BLANK for cell in (*times, label))


def is_label(cell: str) -> bool:
    """Whether there is a label in a cell."""
    return cell.lower() not in _NO_LABEL
