"""How long each class sounds in each clip, from the events of many clips."""

from collections.abc import Iterator, Sequence

import numpy as np

_CLIPS_AT_ONCE = 65_536  # bounds the temporaries of a pass over all events


class ClassActivity:
    """Sums over events that lie clip by clip; nothing of `[clips, c]` is ever held.

    Two million clips of 527 classes would be 8.4 GB as a table of float64.

    Attributes:
        n_clips: clips.
        n_classes: classes.
    """

    def __init__(
        self,
        first_event: np.ndarray,
        labels: np.ndarray,
        onsets: np.ndarray,
        offsets: np.ndarray,
        n_classes: int,
    ):
        """Takes columns of events; they may be mapped from a file.

        Args:
            first_event: int `[clips + 1]`: clip i has the events `first_event[i]` to
                `first_event[i + 1]`.
            labels: int `[events]`, class indices.
            onsets: float `[events]`, seconds.
            offsets: float `[events]`, seconds.
            n_classes: classes.
        """
        self.n_clips, self.n_classes = len(first_event) - 1, n_classes
        self._first_event, self._labels = first_event, labels
        self._onsets, self._offsets = onsets, offsets

    @classmethod
    def joined(cls, parts: Sequence["ClassActivity"]) -> "ClassActivity":
        """Returns the activity of the clips of all parts, which have the same classes."""
        first, begin = [np.zeros(1, np.int64)], 0
        for part in parts:
            places = np.asarray(part._first_event, np.int64)
            first.append(places[1:] - places[0] + begin)
            begin = int(first[-1][-1]) if len(first[-1]) else begin
        events = ("_labels", "_onsets", "_offsets")
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in events)
        return cls(np.concatenate(first), *columns, parts[0].n_classes)

    def sliced(self, first_slice: np.ndarray, slice_seconds: float) -> "ClassActivity":
        """Returns the activity of slices of the clips, events cut where clips are.

        Args:
            first_slice: int `[clips + 1]`: clip i is the slices `first_slice[i]` to
                `first_slice[i + 1]`, all but the last of them of the same length.
            slice_seconds: that length.
        """
        begin = int(self._first_event[0])
        events = slice(begin, int(self._first_event[-1]))
        onsets, offsets = self._onsets[events], self._offsets[events]
        clips = np.repeat(np.arange(self.n_clips), np.diff(self._first_event))
        final = (np.diff(first_slice) - 1)[clips]
        low = np.clip(onsets // slice_seconds, 0, final).astype(np.int64)
        high = np.ceil(offsets / slice_seconds) - 1
        high = np.clip(high, low, final).astype(np.int64)
        counts = high - low + 1
        event = np.repeat(np.arange(len(clips)), counts)
        nth = np.arange(len(event)) - (np.cumsum(counts) - counts - low)[event]
        rows = first_slice[clips[event]] + nth
        order = np.argsort(rows, kind="stable")
        event, nth = event[order], nth[order]
        start = nth * slice_seconds
        end = np.where(nth == final[event], np.inf, slice_seconds)
        return ClassActivity(
            np.searchsorted(rows[order], np.arange(int(first_slice[-1]) + 1)),
            self._labels[events][event],
            np.maximum(onsets[event] - start, 0.0),
            np.minimum(offsets[event] - start, end),
            self.n_classes,
        )

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields which class sounds in which clip, and how long, some clips at a time.

        Yields:
            `(clips, labels, seconds)`, int64, int64, float64 `[k]`: a row for each clip
            and class of the block that has events, sorted by clip and class.
        """
        for start in range(0, self.n_clips, _CLIPS_AT_ONCE):
            first = self._first_event[start : start + _CLIPS_AT_ONCE + 1]
            events = slice(int(first[0]), int(first[-1]))
            clips = np.repeat(np.arange(start, start + len(first) - 1), np.diff(first))
            pairs = clips * self.n_classes + self._labels[events]
            pairs, places = np.unique(pairs, return_inverse=True)
            lengths = self._offsets[events] - self._onsets[events]
            seconds = np.bincount(places, lengths, minlength=len(pairs))
            yield *np.divmod(pairs, self.n_classes), seconds

    def class_seconds(self) -> np.ndarray:
        """Returns how long each class sounds in all clips together, float64 `[c]`."""
        total = np.zeros(self.n_classes)
        for _, labels, seconds in self.blocks():
            total += np.bincount(labels, seconds, minlength=self.n_classes)
        return total

    def class_clips(self) -> np.ndarray:
        """Returns in how many clips each class sounds, int64 `[c]`."""
        total = np.zeros(self.n_classes, np.int64)
        for _, labels, seconds in self.blocks():
            total += np.bincount(labels[seconds > 0], minlength=self.n_classes)
        return total

    def clips_by_class(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the clips in which each class sounds.

        Returns:
            int64 `[c + 1]` and int64 `[k]`: class c sounds in the clips of places
            `first[c]` to `first[c + 1]`, ascending.
        """
        clips, labels = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for block_clips, block_labels, seconds in self.blocks():
            clips.append(block_clips[seconds > 0])
            labels.append(block_labels[seconds > 0])
        order = np.argsort(np.concatenate(labels), kind="stable")
        counts = np.bincount(np.concatenate(labels), minlength=self.n_classes)
        return np.append(0, np.cumsum(counts)), np.concatenate(clips)[order]
