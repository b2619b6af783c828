"""A sound of any length reduced to a few thousand columns while it streams by."""

import numpy as np


class Overview:
    """Keeps the highest values of frames, at a resolution that fits their number.

    Starts with every frame; each time there are `2 * columns` of them, neighbours are
    merged. So there are never more, and at the end at least `columns` if the sound has
    so many frames.

    Args:
      columns: Wanted resolution.
    """

    def __init__(self, columns: int):
        self._capacity = 2 * columns
        self._merged = 1
        self._rows: np.ndarray | None = None
        self._rest: np.ndarray | None = None  # less than `_merged` frames

    def add(self, frames: np.ndarray) -> None:
        """Takes the next frames, `[k, c]`."""
        if self._rows is None:
            self._rows = self._rest = frames[:0]
        rest = np.concatenate([self._rest, frames])
        while len(rest) >= self._merged:
            n_rows = min(self._capacity - len(self._rows), len(rest) // self._merged)
            taken = n_rows * self._merged
            new = _highest(rest[:taken], self._merged)
            self._rows, rest = np.concatenate([self._rows, new]), rest[taken:]
            if len(self._rows) == self._capacity:
                self._rows = _highest(self._rows, 2)
                self._merged *= 2
        self._rest = rest

    def finish(self) -> tuple[np.ndarray, int]:
        """Returns columns `[m, c]` and how many frames one stands for.

        The last may stand for less. m <= 2 * columns.
        """
        rows = self._rows
        if len(self._rest):
            rows = np.concatenate([rows, self._rest.max(axis=0, keepdims=True)])
        return rows, self._merged


class SpectrogramOverview:
    """Mel spectrogram of a sound as a model's front-end hears it, for the eye.

    Window and filterbank are the front-end's; the frames are spaced by half a window,
    and the normalisation is left out.

    Args:
      frontend: A `frontends.presets.Preset`.
      columns: See `Overview`.
    """

    def __init__(self, frontend, columns: int):
        self._window = frontend.window()
        self._bank = frontend.bank()
        self._hop = len(self._window) // 2
        self._sample_rate = frontend.sample_rate
        # Half a window of silence in front: frame k is centred on sample k hops.
        self._held = np.zeros(self._hop, np.float32)
        self._power = Overview(columns)

    def add(self, block: np.ndarray) -> None:
        """Takes the next samples, float32 `[n]`."""
        held = np.concatenate([self._held, block])
        n_frames = 1 + (len(held) - len(self._window)) // self._hop
        if n_frames > 0:
            frames = np.lib.stride_tricks.sliding_window_view(held, len(self._window))
            frames = frames[:: self._hop][:n_frames]
            spectrum = np.fft.rfft(frames * self._window)
            power = spectrum.real**2 + spectrum.imag**2
            self._power.add((power @ self._bank).astype(np.float32))
            held = held[n_frames * self._hop :]
        self._held = held

    def finish(self) -> tuple[np.ndarray, float]:
        """Returns decibels `[m, f]` and the seconds between columns."""
        self.add(np.zeros(len(self._window), np.float32))
        power, merged = self._power.finish()
        decibels = 10 * np.log10(np.maximum(power, 1e-10))
        return decibels, merged * self._hop / self._sample_rate

    def bin_of(self, frequencies_hz: np.ndarray) -> np.ndarray:
        """Returns the (fractional) mel bin of each frequency, NaN outside."""
        n_bins = len(self._bank)
        hertz = np.linspace(0, self._sample_rate / 2, n_bins)
        weight = self._bank.sum(axis=0)
        centres = (hertz @ self._bank) / np.where(weight > 0, weight, 1)
        heard = np.flatnonzero(weight > 0)
        return np.interp(
            frequencies_hz, centres[heard], heard, left=np.nan, right=np.nan
        )


def _highest(rows: np.ndarray, merged: int) -> np.ndarray:
    return rows.reshape(-1, merged, rows.shape[1]).max(axis=1)
