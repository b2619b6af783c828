"""From a row of the data to an example: decoded, cropped and labelled, a numpy dict."""

import collections
import dataclasses
import functools
import threading

import numpy as np

from jaxsed.audio.decode import load_mono, to_int16
from jaxsed.data import wavmix
from jaxsed.data.joined import MIXED, annotation_of
from jaxsed.errors import InputError
from jaxsed.labels.events import (
    FRAME_SECONDS,
    Event,
    clip_targets,
    frame_targets,
)

TARGETS = ("frames", "clip", None)


class DecodedClips:
    """The clips of a `PreparedData` as int16 mono, the most recent kept in memory.

    Safe to use from several threads. Pickled without what it keeps: every worker
    process fills its own.

    Args:
        data: has `ids`, `audio_bytes(row)` and `place(row)`.
        sample_rate: to resample to.
        keep_bytes: how much decoded audio to keep, least recently used goes first;
            0 keeps nothing.
    """

    def __init__(self, data, sample_rate: int, keep_bytes: int = 0):
        self._data = data
        self._sample_rate = sample_rate
        self._keep_bytes = keep_bytes
        self._forget()

    def _forget(self) -> None:
        self._kept: collections.OrderedDict[int, np.ndarray] = collections.OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def __getstate__(self):
        return {"data": self._data, "rate": self._sample_rate, "keep": self._keep_bytes}

    def __setstate__(self, state):
        self.__init__(state["data"], state["rate"], state["keep"])

    def __getitem__(self, row: int) -> np.ndarray:
        """Returns the whole clip, int16 `[n]`, read-only.

        Raises:
            InputError: the clip cannot be decoded; names it.
        """
        with self._lock:
            if row in self._kept:
                self._kept.move_to_end(row)
                return self._kept[row]
        clip = self._decode(row)
        if clip.nbytes <= self._keep_bytes:
            self._keep(row, clip)
        return clip

    def _decode(self, row: int) -> np.ndarray:
        clip_id, audio = str(self._data.ids[row]), self._data.audio_bytes(row)
        try:
            clip = to_int16(load_mono(audio, self._sample_rate, clip_id))
        except InputError as error:
            raise InputError(
                f"clip {clip_id!r} ({self._data.place(row)}) cannot be "
                "decoded, although preparing the data checks every clip: prepare it "
                f"again ({error})"
            ) from error
        clip.flags.writeable = False
        return clip

    def _keep(self, row: int, clip: np.ndarray) -> None:
        with self._lock:
            if row in self._kept:  # another thread was faster
                return
            self._kept[row] = clip
            self._kept_bytes += clip.nbytes
            while self._kept_bytes > self._keep_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes


def decoded(data, sample_rate: int, keep_bytes: int = 0):
    """Returns what gives the samples of each row of data, int16 `[n]`.

    Rows are clips, unless the data have a method `decoded` of their own. Arguments as of
    `DecodedClips`.
    """
    own = getattr(data, "decoded", None)
    if own is not None:
        return own(sample_rate, keep_bytes)
    return DecodedClips(data, sample_rate, keep_bytes)


@dataclasses.dataclass(frozen=True)
class ExampleShape:
    """What an example looks like.

    Attributes:
        clip_seconds: length of the audio; shorter clips are zero-padded.
        sample_rate: of the audio, Hz.
        n_frames: label frames of 40 ms.
        targets: "frames", "clip" or None (no labels at all).
    """

    clip_seconds: float
    sample_rate: int
    n_frames: int
    targets: str | None

    def __post_init__(self):
        if self.targets not in TARGETS:
            raise InputError(f"targets {self.targets!r}: expected 'frames' or 'clip'")
        if not (self.clip_seconds > 0 and self.sample_rate > 0 and self.n_frames > 0):
            raise InputError(
                f"clip_seconds={self.clip_seconds}, sample_rate={self.sample_rate}, "
                f"n_frames={self.n_frames}: all must be above 0"
            )

    @property
    def n_samples(self) -> int:
        """Samples of the audio."""
        return round(self.clip_seconds * self.sample_rate)


class Examples:
    """Cuts examples out of clips: audio, labels and teacher targets move together.

    Args:
        data: a `PreparedData`.
        shape: of the examples.
        teacher: a `TeacherLogits` or what looks like one, or None.
        keep_bytes: see `DecodedClips`.

    Raises:
        InputError: the teacher's logits are of frames where targets are of clips, or the
            other way round.
    """

    def __init__(self, data, shape: ExampleShape, teacher=None, keep_bytes: int = 0):
        self.data = data
        self.shape = shape
        self.teacher = teacher
        self.clips = decoded(data, shape.sample_rate, keep_bytes)
        self._frames = getattr(data, "frames", None)  # of a frozen encoder, row by row
        self.n_classes = len(data.vocabulary)
        # Of some clips it is known when something sounds, of the others what alone.
        self._mixed = shape.targets == "frames" and annotation_of(data) == MIXED
        if teacher is not None:
            self._check_teacher()

    def _check_teacher(self) -> None:
        of_clips = self.teacher.n_frames == 1
        if of_clips != (self.shape.targets == "clip"):
            raise InputError(
                f"the teacher's logits are of {'whole clips' if of_clips else 'frames'}, "
                f"but targets are of {self.shape.targets or 'nothing'}: frames are for "
                "the stage strong, whole clips (an ensemble with targets=clip) for weak"
            )

    def cut(self, row: int, rng: np.random.Generator | None = None) -> dict:
        """Returns the example of a row.

        A clip longer than the example is cut at a random label frame, or from its
        start where `rng` is None; within the frames that the teacher knows, if it knows
        the clip. (The released code cuts at a random sample, when evaluating too, and
        leaves the labels where they were.)

        Args:
            row: in the data.
            rng: draws the place.

        Returns:
            `audio int16 [n]`, `n_samples` (before zero padding), and by what is asked
            for: `labels uint8 [t, c]` or `clip_labels uint8 [c]`, or both and
            `times_known`, where data have labels of frames and of clips; `teacher float16
            [t, c]` or `clip_teacher float16 [c]`, probabilities, zeros where
            `teacher_valid` is False. Data with stored frames (`jaxsed.data.framed`) give
            those in place of `audio` and `n_samples`.

        Raises:
            InputError: the clip cannot be decoded; names it.
        """
        if self._frames is not None:
            example, first_frame = self._frames(row), 0
        else:
            example, first_frame = self._hear(row, rng)
        self._add_labels(example, row, first_frame)
        if self.teacher is not None:
            self._add_teacher(example, row, first_frame)
        return example

    def _hear(self, row: int, rng: np.random.Generator | None) -> tuple[dict, int]:
        """Returns the sound of an example, and the label frame with which it begins."""
        clip = self.clips[row]
        first_frame = 0 if rng is None else self._draw_place(row, len(clip), rng)
        start = round(first_frame * FRAME_SECONDS * self.shape.sample_rate)
        clip = clip[start : start + self.shape.n_samples]
        audio = np.zeros(self.shape.n_samples, np.int16)
        audio[: len(clip)] = clip
        return {"audio": audio, "n_samples": np.int32(len(clip))}, first_frame

    def _draw_place(self, row: int, clip_samples: int, rng: np.random.Generator) -> int:
        spare_seconds = (clip_samples - self.shape.n_samples) / self.shape.sample_rate
        if spare_seconds < FRAME_SECONDS:
            return 0
        n_places = int(spare_seconds / FRAME_SECONDS + 1e-6) + 1
        if self.teacher is not None and self.shape.targets == "frames":
            # No teacher hears what coding adds to the end of a clip.
            known = self.teacher.known_frames(self._place_in_clip(row)[0])
            if known is not None:
                n_places = min(n_places, known - self.shape.n_frames + 1)
        return int(rng.integers(n_places)) if n_places > 1 else 0

    def _place_in_clip(self, row: int) -> tuple[str, int]:
        """Returns the id of a row's clip, and with which label frame of it it begins."""
        place = getattr(self.data, "place_in_clip", None)  # of slices
        return (str(self.data.ids[row]), 0) if place is None else place(row)

    def _add_labels(self, example: dict, row: int, first_frame: int) -> None:
        if self.shape.targets is None:
            return
        events = self.data.events(row)
        start = first_frame * FRAME_SECONDS
        if self.shape.targets == "frames":
            moved = [Event(e.onset - start, e.offset - start, e.label) for e in events]
            labels = frame_targets(moved, self.n_classes, self.shape.n_frames)
            example["labels"] = labels
        if self._mixed:
            example["times_known"] = np.bool_(self.data.knows_times(row))
        if self._mixed or self.shape.targets == "clip":
            end = start + self.shape.clip_seconds
            inside = [e for e in events if e.offset > start and e.onset < end]
            example["clip_labels"] = clip_targets(inside, self.n_classes)

    def _add_teacher(self, example: dict, row: int, first_frame: int) -> None:
        clip_id, start = self._place_in_clip(row)
        if self.shape.targets == "clip":
            name, shape = "clip_teacher", (self.n_classes,)
            logits = self.teacher.get(clip_id)
        else:
            name, shape = "teacher", (self.shape.n_frames, self.n_classes)
            logits = self.teacher.get(clip_id, start + first_frame, shape[0])
        example["teacher_valid"] = np.bool_(logits is not None)
        nothing = np.zeros(shape, np.float16)
        example[name] = nothing if logits is None else sigmoid(logits).reshape(shape)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns float16 probabilities of float16 logits of any shape.

    They are what float32 arithmetic gives, rounded. There are 65,536 float16 numbers,
    and looking up costs a fraction of converting to float32 and back.
    """
    return _sigmoids().take(np.ascontiguousarray(logits, np.float16).view(np.uint16))


@functools.cache
def _sigmoids() -> np.ndarray:
    """Returns the sigmoid of every float16, indexed by its bits."""
    logits = np.arange(65_536, dtype=np.uint16).view(np.float16)
    # tanh neither overflows nor warns at either end.
    half = np.float32(0.5)
    with np.errstate(invalid="ignore"):  # a thousand of them are NaN
        tanh = np.tanh(half * logits.astype(np.float32))
    return (half * tanh + half).astype(np.float16)


def mix(own: dict, partner: dict, weight: float) -> dict:
    """Returns the wavmix of two examples (see `jaxsed.data.wavmix`).

    Labels become float16 fractions. The mix has teacher targets, and labels of frames, if
    both have.

    Args:
        own: from `Examples.cut`.
        partner: from `Examples.cut`.
        weight: of `own`.
    """
    audio = wavmix.mix_audio(own["audio"], partner["audio"], weight)
    mixed = {
        "audio": to_int16(audio / np.float32(32768)),
        "n_samples": np.maximum(own["n_samples"], partner["n_samples"]),
    }
    for name in ("labels", "clip_labels", "teacher", "clip_teacher"):
        if name in own:
            mixed[name] = wavmix.mix_targets(own[name], partner[name], weight)
    for name in ("teacher_valid", "times_known"):
        if name in own:
            mixed[name] = own[name] & partner[name]
    return mixed
