"""Front-ends of frame-level PaSST and of the frame-level MobileNets.

After PretrainedSED `models/frame_passt/preprocess.py` with the arguments of
`fpasst_wrapper.py` and `models/frame_mn/Frame_MN_wrapper.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends import stft
from jaxsed.frontends.kaldi import kaldi_bank, kaldi_bank_between
from jaxsed.frontends.preset import Count, Preset, at_least


@dataclasses.dataclass(frozen=True)
class FPasst(Preset):
    """Pre-emphasis, Kaldi mel, natural logarithm; 10 s give `[b, 1000, 128]`.

    A clip of a single sample is heard as if a zero followed.
    """

    name: str = "fpasst"
    sample_rate: int = 16_000
    hop_samples: int = 160
    n_mels: int = 128
    fft_samples: int = 512
    window_samples: int = 400

    def bank(self) -> np.ndarray:
        """Kaldi filters from 0 to 7000 Hz.

        Not to the Nyquist frequency: the original takes half of its range of training
        time variation, 2000 Hz, off the upper edge at evaluation too.
        """
        return kaldi_bank(self.n_mels, self.fft_samples, self.sample_rate, 0.0, 7000.0)

    def draw_bank(self, key: jax.Array) -> jax.Array:
        """Kaldi filters from 0 to 9 Hz up to 6001 to 8000 Hz, in whole Hz.

        One draw for the whole batch, as in the original's training.
        """
        low_key, high_key = jax.random.split(key)
        return kaldi_bank_between(
            self.n_mels,
            self.fft_samples,
            self.sample_rate,
            jax.random.randint(low_key, (), 0, 10),
            jax.random.randint(high_key, (), 6001, 8001),
        )

    def n_mel_frames(self, n_samples: Count) -> Count:
        """Pre-emphasis takes a sample away: 1000 frames in 10 s, not 1001."""
        return super().n_mel_frames(n_samples - 1)

    def n_samples(self, n_mel_frames: Count) -> Count:
        """Shortest clip, in samples, that gives so many mel frames."""
        return at_least(1, (n_mel_frames - 1) * self.hop_samples + 1)

    def _frames(self, wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
        if wave.shape[1] == 1:  # pre-emphasis would leave nothing
            wave = jnp.pad(wave, ((0, 0), (0, 1)))
        if n_samples is not None:
            n_samples = jnp.maximum(n_samples - 1, 1)
        # float32(0.97): the original stores the coefficient in single precision.
        wave = wave[:, 1:] - jnp.asarray(np.float32(0.97), wave.dtype) * wave[:, :-1]
        return super()._frames(wave, n_samples)

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        return (jnp.log(jnp.maximum(power, 1e-7)) + 4.5) / 5.0


@dataclasses.dataclass(frozen=True)
class FrameMn(FPasst):
    """The front-end of frame-level PaSST with a symmetric window."""

    name: str = "frame_mn"

    def window(self) -> np.ndarray:
        """Hann window whose first and last values are both zero."""
        return stft.hann_window(self.window_samples, self.fft_samples, periodic=False)
