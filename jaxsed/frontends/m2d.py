"""Front-end of M2D (PretrainedSED `models/m2d/portable_m2d.py`, with nnAudio 0.3)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends import stft
from jaxsed.frontends.mel import slaney_bank
from jaxsed.frontends.preset import Preset


@dataclasses.dataclass(frozen=True)
class M2d(Preset):
    """Slaney mel, natural logarithm, standardised; 10 s give `[b, 1001, 80]`.

    Standardised with the constants of the 2022 models, whatever `norm_stats` a
    checkpoint holds: the original loads those and never uses them.
    """

    name: str = "m2d"
    sample_rate: int = 16_000
    hop_samples: int = 160
    n_mels: int = 80
    fft_samples: int = 400
    window_samples: int = 400

    def bank(self) -> np.ndarray:
        """Slaney filters of equal area from 50 to 8000 Hz."""
        return slaney_bank(self.n_mels, self.fft_samples, self.sample_rate, 50.0, 8e3)

    def _power(self, frames: jax.Array) -> jax.Array:
        return stft.power_spectrum(frames, self.window(), rounded_sines=True)

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        # torch.finfo().eps is added, not used as a floor.
        return (jnp.log(power + 2.0**-23) + 7.1) / 4.2
