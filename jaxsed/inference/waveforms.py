"""Waveforms as a caller gives them, checked before anything is computed."""

from typing import Any

import numpy as np

from jaxsed.errors import InputError


def checked(wave: Any) -> np.ndarray:
    """Returns waveforms as models take them.

    Args:
      wave: Floats `[b, n]`, full scale 1; neither may be 0.

    Returns:
      float32 `[b, n]`.

    Raises:
      InputError: Not such an array, or not finite.
    """
    wave = np.asarray(wave)
    if not np.issubdtype(wave.dtype, np.floating):
        raise InputError(
            f"waveform is {wave.dtype}; give floats with full scale 1 (16-bit "
            "samples: wave / 32768)"
        )
    if wave.ndim != 2 or not wave.size:
        raise InputError(
            f"waveform has shape {list(wave.shape)}; give [clips, samples] with at "
            "least one of each (one clip: wave[None])"
        )
    wave = wave.astype(np.float32)
    if not np.isfinite(wave).all():
        raise InputError("waveform holds NaN or infinite samples; leave them out")
    return wave
