"""Front-end of ATST-Frame (PretrainedSED `models/atstframe/ATSTF_wrapper.py`)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends.mel import htk_bank
from jaxsed.frontends.preset import Preset


@dataclasses.dataclass(frozen=True)
class AtstFrame(Preset):
    """HTK mel, decibels, scaled to about [-1, 1]; 10 s give `[b, 1001, 64]`.

    Decibels are cut off 80 dB below the loudest bin *of the clip*, as ATST-Frame was
    pre-trained. PretrainedSED takes the maximum over the whole batch, so that there a
    clip's features depend on its batch mates.
    """

    name: str = "atst_frame"
    sample_rate: int = 16_000
    hop_samples: int = 160
    n_mels: int = 64
    fft_samples: int = 1024
    window_samples: int = 1024

    def bank(self) -> np.ndarray:
        """HTK filters of height 1 from 60 to 7800 Hz."""
        return htk_bank(self.n_mels, self.fft_samples, self.sample_rate, 60.0, 7800.0)

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        decibel = 10 * jnp.log10(jnp.maximum(power, 1e-10))
        heard = decibel
        if n_mel_frames is not None:
            inside = jnp.arange(power.shape[1]) < n_mel_frames[:, None]
            heard = jnp.where(inside[..., None], decibel, -jnp.inf)
        loudest = jnp.max(heard, axis=(1, 2), keepdims=True)
        decibel = jnp.clip(jnp.maximum(decibel, loudest - 80), -50, 80)
        low, high = -79.6482, 50.6842  # extremes of ATST's training data, in dB
        return (decibel - low) / (high - low) * 2 - 1
