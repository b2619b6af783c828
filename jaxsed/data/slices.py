"""Clips of any length as consecutive slices of what a model hears at once.

How long recordings are evaluated, and how an encoder's frames are computed ahead: the
papers "concatenate predictions on non-overlapping 10-second slices" (Effective
Pre-Training, section IV-B, for DCASE16-T2 and MAESTRO, whose clips last 120 s).

A clip that is no longer than a slice is one slice, filled up with silence, and is then
the clip itself: the same id, the same events, the same frames. So is one that is longer
by no more than coding adds (10.03 s, say), whose end is not heard. Of a longer clip the
last slice is filled up, and the frames that are not its own do not count.
"""

import functools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxsed.data.activity import ClassActivity
from jaxsed.data.examples import DecodedClips
from jaxsed.data.problems import DURATION_TOLERANCE_SECONDS
from jaxsed.data.slice_rows import SliceRows
from jaxsed.errors import InputError
from jaxsed.labels.events import FRAME_SECONDS, Event, offset_frames

_LOCKS = 64  # clips are few that are decoded at once, and neighbours never share one


class Slice(NamedTuple):
    """Where a slice lies.

    Attributes:
        clip: row of its clip in the data.
        first_frame: label frame of the clip with which it begins.
        n_frames: label frames that count: fewer than a slice has in the last one of a
            clip of several.
    """

    clip: int
    first_frame: int
    n_frames: int


class Slices:
    """Looks like a `PreparedData` whose rows are slices, clip by clip.

    Args:
        data: a `PreparedData`, or what looks like one.
        clip_seconds: length of a slice, whole label frames.
        most: slices of a clip, from its start; all that it has if None.

    Attributes:
        data: as given.
        clip_seconds: as given.
        n_clips: of the data.
        rows: which slice of which clip each row is.
        vocabulary: that of the data.
        manifest: that of the data; what it counts are clips.
        manifest_hash: that of the data where every clip is one slice.

    Raises:
        InputError: a length that is not whole label frames.
    """

    def __init__(self, data, clip_seconds: float, most: int | None = None):
        n_frames = clip_seconds / FRAME_SECONDS
        if not (n_frames > 0.5 and abs(n_frames - round(n_frames)) < 1e-6):
            raise InputError(
                f"slices of {clip_seconds} s: expected whole label frames of "
                f"{FRAME_SECONDS:g} s"
            )
        self.data, self._most = data, most
        self.clip_seconds, self._slice_frames = float(clip_seconds), round(n_frames)
        self.n_clips = len(data)
        self.vocabulary, self.manifest = data.vocabulary, data.manifest
        durations = np.asarray(data.durations, np.float64)
        heard = (durations - DURATION_TOLERANCE_SECONDS) / clip_seconds
        n_slices = np.clip(np.ceil(heard), 1, most).astype(np.int64)
        clip_frames, several = n_slices * self._slice_frames, n_slices > 1
        clip_frames[several] = np.minimum(
            clip_frames[several], offset_frames(durations[several])
        )
        self.rows = SliceRows(clip_frames, self._slice_frames)
        self._longest_seconds = float(durations[several].max(initial=0.0))
        self.manifest_hash: str = data.manifest_hash
        if self.rows.any_several:
            self.manifest_hash += f"/{self._slice_frames}"
        self.ids = _SliceIds(self, data.ids)

    def __reduce__(self):
        return Slices, (self.data, self.clip_seconds, self._most)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def clips(self):
        """The data whose clips are sliced."""
        return self.data

    @property
    def clip_frames(self) -> np.ndarray:
        """Label frames that count of all slices of a clip, int64 `[clips]`."""
        return self.rows.clip_frames

    @property
    def directory(self):
        """That of the data."""
        return self.data.directory

    @property
    def labels(self) -> str:
        """As `PreparedData.labels`."""
        return self.data.labels

    def slice(self, i: int) -> Slice:
        """Returns where slice `i` lies."""
        clips, first_frames, n_frames = self.slices(np.array([i]))
        return Slice(int(clips[0]), int(first_frames[0]), int(n_frames[0]))

    def slices(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns where some slices lie: the columns of `Slice`, int64 `[b]` each."""
        return self.rows.slices(rows)

    def place_in_clip(self, i: int) -> tuple[str, int]:
        """Returns the id of slice `i`'s clip, and the label frame where it begins there."""
        lies = self.slice(i)
        return str(self.data.ids[lies.clip]), lies.first_frame

    def add_to_means(
        self, means: np.ndarray, rows: np.ndarray, values: np.ndarray
    ) -> None:
        """Adds what some slices contribute to the means of their clips.

        A slice weighs as much as it has of its clip's frames. The only slice of a clip
        gives its value, bit by bit.

        Args:
            means: float `[clips, c]`, zeros before the first slice.
            rows: int `[b]`, slices; each is added once.
            values: float `[b, c]`, theirs.
        """
        clips, _, _ = self.slices(rows)
        weights = self.rows.weights(rows)[:, None].astype(values.dtype)
        np.add.at(means, clips, weights * values)

    @functools.cached_property
    def durations(self) -> np.ndarray:
        """Seconds of the slices, without what fills them up, float64 `[slices]`."""
        clips, first_frames, _ = self.slices(np.arange(len(self)))
        left = np.asarray(self.data.durations)[clips] - first_frames * FRAME_SECONDS
        return np.where(self._is_last(clips, first_frames), left, self.clip_seconds)

    def events(self, i: int) -> list[Event]:
        """Returns the events of slice `i`, in its own time, cut where it is cut."""
        clip, first_frame, _ = self.slice(i)
        events, start = self.data.events(clip), first_frame * FRAME_SECONDS
        if len(self.rows.of_clip(clip)) == 1:
            return events
        end = np.inf if self._is_last(clip, first_frame) else self.clip_seconds
        moved = (Event(e.onset - start, e.offset - start, e.label) for e in events)
        return [
            Event(max(e.onset, 0.0), min(e.offset, end), e.label)
            for e in moved
            if e.onset < end and e.offset > 0
        ]

    def activity(self) -> ClassActivity:
        """As `PreparedData.activity`, of slices."""
        return self.data.activity().sliced(self.rows.first_rows, self.clip_seconds)

    def knows_times(self, i: int) -> bool:
        """As `JoinedData.knows_times`."""
        return self.data.knows_times(self.slice(i).clip)

    def place(self, i: int) -> str:
        """As `PreparedData.place`: of the clip."""
        return self.data.place(self.slice(i).clip)

    def audio_bytes(self, i: int) -> bytes:
        """As `PreparedData.audio_bytes`: of the whole clip."""
        return self.data.audio_bytes(self.slice(i).clip)

    def decoded(self, sample_rate: int, keep_bytes: int) -> "DecodedSlices":
        """Returns the slices' samples, as `examples.decoded` asks for them."""
        return DecodedSlices(self, self.data, sample_rate, keep_bytes)

    def keep_bytes(self, sample_rate: int, n_ahead: int = 0) -> int:
        """Returns how much decoded audio to keep for every clip to be decoded once.

        Args:
            sample_rate: Hz.
            n_ahead: slices that are computed at the same time.

        Returns:
            0 where no clip has several slices.
        """
        bytes_per_second = sample_rate * np.dtype(np.int16).itemsize
        if not self._longest_seconds:
            return 0
        # The longest clip at either end of those slices, and a sample for rounding.
        seconds = n_ahead * self.clip_seconds + 2 * self._longest_seconds
        return int(np.ceil(seconds * bytes_per_second)) + 4

    def _is_last(self, clips, first_frames):
        return first_frames + self._slice_frames >= self.clip_frames[clips]


class _SliceIds(Sequence[str]):
    """Ids of slices: that of the clip, with `@SECONDS` behind it if it has several."""

    def __init__(self, slices: Slices, of_clips: Sequence[str]):
        self._slices, self._of_clips = slices, of_clips

    def __len__(self) -> int:
        return len(self._slices)

    def __getitem__(self, which):
        if isinstance(which, slice):
            return [self[i] for i in range(len(self))[which]]
        lies = self._slices.slice(range(len(self))[which])
        clip_id = str(self._of_clips[lies.clip])
        if lies.n_frames == self._slices.clip_frames[lies.clip]:
            return clip_id
        return f"{clip_id}@{lies.first_frame * FRAME_SECONDS:g}"


class DecodedSlices:
    """The samples of slices; a clip is decoded once while its slices are asked for.

    That is, in the order of their rows, by any number of threads. Pickled without what
    it keeps, like `DecodedClips`.

    Args:
        slices: of `data`.
        data: the clips.
        sample_rate: to resample to.
        keep_bytes: decoded audio to keep, in any case enough for one thread.
    """

    def __init__(self, slices: Slices, data, sample_rate: int, keep_bytes: int):
        self._arguments = slices, data, sample_rate, keep_bytes
        self._slices, self._sample_rate = slices, sample_rate
        keep_bytes = max(keep_bytes, slices.keep_bytes(sample_rate))
        self._clips = DecodedClips(data, sample_rate, keep_bytes)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def __reduce__(self):
        return DecodedSlices, self._arguments

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns a slice, int16 `[n]`, read-only; shorter at the end of a clip.

        Raises:
            InputError: the clip cannot be decoded; names it.
        """
        clip, first_frame, _ = self._slices.slice(row)
        with self._locks[clip % _LOCKS]:  # who comes while it is decoded waits for it
            samples = self._clips[clip]
        start = round(first_frame * FRAME_SECONDS * self._sample_rate)
        stop = start + round(self._slices.clip_seconds * self._sample_rate)
        return samples[start:stop]
