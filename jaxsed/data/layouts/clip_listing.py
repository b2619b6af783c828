"""From rows of tables that label whole clips to a `SourceSplit`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxsed.data.layouts.audio_source import AudioSource
from jaxsed.data.layouts.source import (
    CLIPS,
    SINGLE,
    ClipTable,
    ClipTableBuilder,
    SourceSplit,
)
from jaxsed.data.problems import WHOLE_CLIP, Problem, RawEvent
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary


class ClipListing:
    """The clips of one split, as rows of its tables name them.

    Attributes:
      labels: `single` or `multi`.
      problems: What was wrong with the rows.
    """

    def __init__(self, labels: str):
        """Starts empty."""
        self.labels = labels
        self.problems: list[Problem] = []
        self._clips = ClipTableBuilder()
        self._first_label: dict[int, str] = {}

    @property
    def clips(self) -> list[str]:
        """The clips as `add` called them, in the order of their first rows."""
        return self._clips.ids

    def add(
        self, clip: str, listed_seconds: float, labels: Iterable[str], line: int
    ) -> None:
        """Adds a row.

        Args:
          clip: Which clip it is of; several rows may be of one.
          listed_seconds: How long it should be; NaN if the table does not say.
          labels: Of the clip as a whole.
          line: Of the table.
        """
        row = self._clips.add_clip(clip, listed_seconds)
        for label in labels:
            if self.labels == SINGLE:
                first = self._first_label.setdefault(row, label)
                if label != first:
                    what = f"line {line}: {label} as well as {first}"
                    self.problems.append(Problem(clip, "several_labels", what))
                    continue
            self._clips.add_event(row, RawEvent(*WHOLE_CLIP, label, line))

    def reject(self, kind: str, table: Path, line: int, what: str) -> None:
        """Notes a row that cannot be used, as a problem of a kind."""
        self.problems.append(Problem("", kind, f"{table.name}, line {line}: {what}"))

    def build(
        self, audio: Sequence[AudioSource | None], ids: Sequence[str] | None = None
    ) -> ClipTable:
        """Returns the clips with their sounds; see `ClipTableBuilder.build`."""
        return self._clips.build(audio, ids)

    def split(
        self,
        layout: str,
        split: str,
        source: Path,
        vocabulary: Vocabulary,
        clips: ClipTable,
    ) -> SourceSplit:
        """Returns the split that these clips are."""
        return SourceSplit(
            layout,
            split,
            source,
            vocabulary,
            clips,
            tuple(self.problems),
            CLIPS,
            self.labels,
        )


def classes_of(labels: Iterable[str], name: str) -> Vocabulary:
    """Returns the classes that labels are of, sorted: numbers by value, else by name.

    Labels that are all AudioSet's, MIDs or names, get its names and MIDs, so that the
    classes are matched with those of models.

    Args:
      labels: All that are in use, in any order, at least one.
      name: Of the data set; the number of classes is added.
    """
    labels = set(labels)
    whole = vocab.load("audioset_527")
    if all(label in whole for label in labels):
        places = {whole.index(label) for label in labels}
        pairs = sorted((whole.names[k], whole.mids[k]) for k in places)
    else:
        numbers = all(label.isdecimal() for label in labels)
        names = sorted(labels, key=int if numbers else str)
        pairs = [(label, None) for label in names]
    return Vocabulary(f"{name}_{len(pairs)}", *zip(*pairs))
