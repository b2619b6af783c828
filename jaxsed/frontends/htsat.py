"""Front-end of HTS-AT (`config.py` of RetroCirce/HTS-Audio-Transformer, torchlibrosa 0.1.0)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends import stft
from jaxsed.frontends.mel import slaney_bank
from jaxsed.frontends.preset import Preset


@dataclasses.dataclass(frozen=True)
class HtsAt(Preset):
    """32 kHz, Slaney mel, decibels; 10 s give `[b, 1001, 64]`.

    Not normalised: that is the first layer of the encoder, a batch normalisation whose
    statistics are learned with it.
    """

    name: str = "htsat"
    sample_rate: int = 32_000
    hop_samples: int = 320
    n_mels: int = 64
    fft_samples: int = 1024
    window_samples: int = 1024

    def window(self) -> np.ndarray:
        """Periodic Hann window in float64: torchlibrosa rounds its product with sines."""
        return stft.hann(self.window_samples, periodic=True)

    def bank(self) -> np.ndarray:
        """Slaney filters of equal area from 50 to 14000 Hz."""
        return slaney_bank(
            self.n_mels, self.fft_samples, self.sample_rate, 50.0, 14_000.0
        )

    def _power(self, frames: jax.Array) -> jax.Array:
        return stft.power_spectrum(frames, self.window(), rounded_sines=True)

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        return 10 * jnp.log10(jnp.maximum(power, 1e-10))
