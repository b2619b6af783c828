"""Some clips of a prepared data set, in any order, for a loader to read as one."""

from collections.abc import Sequence

import numpy as np

from jaxsed.data.examples import decoded
from jaxsed.labels.events import Event


class ClipSelection:
    """Looks like a `PreparedData` that has these clips alone.

    Args:
        data: a `PreparedData`.
        rows: of it, int; a row may occur again.

    Attributes:
        ids: of the selected clips, a list of str.
        vocabulary: that of `data`.
        manifest_hash: that of `data`.
    """

    def __init__(self, data, rows: Sequence[int] | np.ndarray):
        self._data, self._rows = data, np.asarray(rows, np.int64).tolist()
        self.ids = [str(data.ids[row]) for row in self._rows]
        self.vocabulary = data.vocabulary
        self.manifest_hash = data.manifest_hash

    def __len__(self) -> int:
        return len(self._rows)

    def events(self, i: int) -> list[Event]:
        """As `PreparedData.events`."""
        return self._data.events(self._rows[i])

    def audio_bytes(self, i: int) -> bytes:
        """As `PreparedData.audio_bytes`."""
        return self._data.audio_bytes(self._rows[i])

    def place(self, i: int) -> str:
        """As `PreparedData.place`."""
        return self._data.place(self._rows[i])

    def decoded(self, sample_rate: int, keep_bytes: int) -> "_DecodedSelection":
        """As `examples.decoded`: what occurs again is decoded once, if it is kept."""
        return _DecodedSelection(
            decoded(self._data, sample_rate, keep_bytes), self._rows
        )


class _DecodedSelection:
    """Samples of the selected rows, int16 `[n]`."""

    def __init__(self, samples, rows: Sequence[int]):
        self._samples, self._rows = samples, rows

    def __getitem__(self, i: int) -> np.ndarray:
        return self._samples[self._rows[i]]
