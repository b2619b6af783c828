"""Cutting sound of any length into overlapped windows, and joining what they give.

A model sees one window (10 s) at a time. At the borders of a window it knows one side
only, so windows overlap, frames near a border that another window sees better are left
out, and between two windows one fades into the other. The last window ends where the
sound ends: it is full of sound, not of padding.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from jaxsed.errors import InputError

MAX_OVERLAP = 0.9  # ten times the work; beyond it nothing changes


@dataclasses.dataclass(frozen=True)
class WindowPlan:
    """How windows lie over a sound, on the grid of label frames.

    Attributes:
      frame_samples: Samples of a label frame, 640 for 40 ms at 16 kHz.
      window_frames: Label frames of a window.
      overlap: Part of a window that it shares with the next, 0 to 0.9. A quarter of the
        overlap on either side of the fade is seen by one window only.
    """

    frame_samples: int
    window_frames: int = 250
    overlap: float = 0.2

    def __post_init__(self):
        if not 0 <= self.overlap <= MAX_OVERLAP:
            raise InputError(
                f"overlap {self.overlap} is not a part of a window: give 0 (none) to "
                f"{MAX_OVERLAP}"
            )

    @property
    def overlap_frames(self) -> int:
        """Label frames shared by neighbouring windows."""
        return round(self.overlap * self.window_frames)

    @property
    def hop_frames(self) -> int:
        """Label frames between the starts of neighbouring windows."""
        return self.window_frames - self.overlap_frames

    @property
    def window_samples(self) -> int:
        """Samples of a window."""
        return self.window_frames * self.frame_samples

    def window(
        self, samples: np.ndarray, start_frame: int, n_frames: int, last: bool
    ) -> "Window":
        """A window of this plan; see `Window`."""
        return Window(samples, start_frame, n_frames, last, self.window_frames)

    def n_frames(self, n_samples: int) -> int:
        """Label frames of a sound: a started frame counts."""
        return -(-n_samples // self.frame_samples)

    def starts(self, n_frames: int) -> list[int]:
        """First frames of the windows over a sound of `n_frames`, ascending."""
        last = max(0, n_frames - self.window_frames)
        return [*range(0, last, self.hop_frames), last]

    def weights(self, first: bool, last: bool) -> np.ndarray:
        """Weight of a window's frames against those of its neighbours.

        A trapezoid: 0 for a quarter of the overlap, a straight fade for half of it, 1
        between the fades. Regularly spaced windows add up to 1 (for overlaps up to
        one half; `Stitcher` divides by the sum in any case).

        Args:
          first: The window starts with the sound: no fade in.
          last: The window ends with the sound: no fade out.

        Returns:
          float32 `[window_frames]` in [0, 1].
        """
        margin = self.overlap_frames // 4
        fade_frames = max(1, self.overlap_frames - 2 * margin)
        position = np.arange(self.window_frames) + 0.5 - margin
        fade_in = np.clip(position / fade_frames, 0, 1)
        fade_in = fade_in if self.overlap_frames else np.ones_like(position)
        weights = np.ones(self.window_frames)
        if not first:
            weights = fade_in
        if not last:
            weights = np.minimum(weights, fade_in[::-1])
        return weights.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Window:
    """A piece of sound for the model.

    Attributes:
      samples: float32 `[window_samples]`, zeros after the end of the sound.
      start_frame: Label frame of the sound at which the window starts.
      n_frames: Label frames of it that hold sound, all but in a sound shorter than it.
      last: No window comes after it.
      window_frames: Label frames of the window.
    """

    samples: np.ndarray
    start_frame: int
    n_frames: int
    last: bool
    window_frames: int

    @property
    def is_full(self) -> bool:
        """It holds sound from its first to its last frame."""
        return self.n_frames == self.window_frames

    @property
    def n_samples(self) -> int:
        """Samples of the label frames that hold sound."""
        return len(self.samples) // self.window_frames * self.n_frames


def cut(blocks: Iterable[np.ndarray], plan: WindowPlan) -> Iterator[Window]:
    """Cuts a sound that arrives in blocks into windows.

    Holds a window, a hop and a block of samples at most, however long the sound.

    Args:
      blocks: float32 `[n]` each, any lengths; the sound is their concatenation.
      plan: Where windows lie.

    Yields:
      Windows in order, starting at `plan.starts(...)`; none if there are no samples.
    """
    frame = plan.frame_samples
    held, held_start = np.zeros(0, np.float32), 0
    next_start = 0
    for block in blocks:
        held = np.concatenate([held, block])
        # Strictly more than the window: only then it is sure not to be the last.
        while held_start + len(held) > next_start * frame + plan.window_samples:
            begin = next_start * frame - held_start
            samples = held[begin : begin + plan.window_samples]
            yield plan.window(samples, next_start, plan.window_frames, last=False)
            # The last window may start anywhere after this one: keep all from here.
            held, held_start = held[begin:], next_start * frame
            next_start += plan.hop_frames
    n_frames = plan.n_frames(held_start + len(held))
    if n_frames:
        start = max(0, n_frames - plan.window_frames)
        samples = held[start * frame - held_start :]
        samples = np.pad(samples, (0, plan.window_samples - len(samples)))
        yield plan.window(samples, start, n_frames - start, last=True)


class Stitcher:
    """Joins the frames that windows give, fading from one window into the next.

    A frame's value is the weighted mean of the windows that cover it, by
    `WindowPlan.weights`; where they agree it is exactly what they agree on.

    Args:
      plan: The plan that the windows were cut by.
      n_channels: Values of a frame, such as classes.
    """

    def __init__(self, plan: WindowPlan, n_channels: int):
        self._plan = plan
        self._start = 0  # first frame not yet given out
        self._mean = np.zeros((0, n_channels), np.float32)
        self._weight = np.zeros((0, 1), np.float32)

    def add(self, window: Window, values: np.ndarray) -> np.ndarray:
        """Takes the next window's frames and gives out those that are final.

        Args:
          window: The window, in the order of `cut`.
          values: `[window_frames, channels]`.

        Returns:
          float32 `[k, channels]`, the next k frames of the sound: all up to the
          window's start, or to the end if it is the last.
        """
        plan = self._plan
        skipped = window.start_frame - self._start
        end = skipped + plan.window_frames
        grow = ((0, max(0, end - len(self._mean))), (0, 0))
        self._mean = np.pad(self._mean, grow)
        self._weight = np.pad(self._weight, grow)
        weight = plan.weights(first=window.start_frame == 0, last=window.last)[:, None]
        total, mean = self._weight[skipped:end], self._mean[skipped:end]
        total += weight
        # mean + part * (value - mean) leaves equal values exactly as they are, which
        # a sum of weighted values does not.
        part = np.divide(weight, total, out=np.zeros_like(total), where=total > 0)
        mean += part * (values - mean)
        final = skipped + (window.n_frames if window.last else 0)
        finished = self._mean[:final].copy()
        self._mean, self._weight = self._mean[final:], self._weight[final:]
        self._start += final
        return finished
