"""Sample rate conversion with libsoxr, whole waves or streams.

The released training code (PretrainedSED `helpers/decode.py`) resamples with a short
Kaiser-windowed sinc whose pass-band falls off from about 4 kHz at a target rate of
16 kHz; libsoxr's HQ setting is flat to 7.3 kHz. It is also librosa's resampler, which
the released `inference.py` uses. Below 3 kHz both agree to 60 dB and better.
"""

import numpy as np
import soxr

from jaxsed.errors import InputError

QUALITY = "HQ"  # 20 bit: rejection of about 120 dB, below the noise of 16-bit audio
RESAMPLER = f"soxr {QUALITY}"  # what manifests record; change it with the algorithm


def resample(wave: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resamples a mono wave.

    Args:
      wave: float32 `[n]`.
      from_rate: Its sample rate, Hz.
      to_rate: The wanted sample rate, Hz.

    Returns:
      float32 `[round(n * to_rate / from_rate)]`, aligned in time with the input (no
      delay). The input itself if the rates are equal.

    Raises:
      InputError: A rate that is not positive.
    """
    _check_rates(from_rate, to_rate)
    if from_rate == to_rate:
        return wave
    return soxr.resample(wave, from_rate, to_rate, quality=QUALITY)


class StreamResampler:
    """Resamples a mono wave piece by piece, to the samples `resample` would give."""

    def __init__(self, from_rate: int, to_rate: int):
        _check_rates(from_rate, to_rate)
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(
                from_rate, to_rate, 1, dtype="float32", quality=QUALITY
            )

    def push(self, block: np.ndarray) -> np.ndarray:
        """Takes the next float32 samples `[n]`; returns those that are ready now."""
        return block if self._stream is None else self._stream.resample_chunk(block)

    def finish(self) -> np.ndarray:
        """Returns the samples still held back by the filter. Call once, at the end."""
        if self._stream is None:
            return np.empty(0, np.float32)
        return self._stream.resample_chunk(np.empty(0, np.float32), last=True)


def _check_rates(*rates: int) -> None:
    for rate in rates:
        if not rate > 0:
            raise InputError(f"sample rate {rate!r} Hz; expected a positive number")
