"""Front-ends made of Kaldi's `fbank`: BEATs and ASiT.

PretrainedSED calls `torchaudio.compliance.kaldi.fbank` without dither, BEATs in
`models/beats/BEATs.py` (`preprocess`), ASiT in `models/asit/data_transformations.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends import kaldi, stft
from jaxsed.frontends.preset import Count, Preset, at_least

LOWEST_POWER = 2.0**-23  # float32's epsilon, Kaldi's floor in front of the logarithm


@dataclasses.dataclass(frozen=True)
class Fbank(Preset):
    """Log-mel of Kaldi frames; 10 s give `[b, 998, 128]`.

    The first frame begins with the clip and the last one ends within it: a frame that
    would need more samples is left out. A clip too short for a frame is filled up with
    zeros to one.
    """

    sample_rate: int = 16_000
    hop_samples: int = 160
    n_mels: int = 128
    fft_samples: int = 512
    window_samples: int = 400

    def bank(self) -> np.ndarray:
        """Kaldi filters from 20 to 8000 Hz."""
        return kaldi.kaldi_bank(
            self.n_mels, self.fft_samples, self.sample_rate, 20.0, 8000.0
        )

    def n_mel_frames(self, n_samples: Count) -> Count:
        """Frames lie within the clip: 998 in 10 s."""
        return super().n_mel_frames(n_samples - self.window_samples)

    def n_samples(self, n_mel_frames: Count) -> Count:
        """Shortest clip, in samples, that gives so many mel frames; 1 for one frame."""
        further = (n_mel_frames - 1) * self.hop_samples
        return at_least(1, further + self.window_samples * (n_mel_frames > 1))

    def _frames(self, wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
        del n_samples  # frames end where they end, and the padding is silent
        return kaldi.kaldi_frames(
            wave, self.window_samples, self.hop_samples, self.fft_samples
        )

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        log_mel = jnp.log(jnp.maximum(power, LOWEST_POWER))
        mean, deviation = self._statistics()
        return (log_mel - mean) / (2 * deviation)

    def _statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the log-mel in the encoder's pre-training."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Beats(Fbank):
    """Front-end of BEATs: samples in the range of 16-bit integers, Povey window."""

    name: str = "beats"

    def window(self) -> np.ndarray:
        """Kaldi's own window, `hann ** 0.85`."""
        return kaldi.kaldi_window(self.window_samples, self.fft_samples, exponent=0.85)

    def _frames(self, wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
        return super()._frames(wave * 2**15, n_samples)

    def _statistics(self) -> tuple[float, float]:
        return 15.41663, 6.55582


@dataclasses.dataclass(frozen=True)
class Asit(Fbank):
    """Front-end of ASiT: the clip's mean taken away, Hann window."""

    name: str = "asit"

    def window(self) -> np.ndarray:
        """Symmetric Hann window."""
        return kaldi.kaldi_window(self.window_samples, self.fft_samples, exponent=1.0)

    def _frames(self, wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
        if n_samples is None:
            mean = jnp.mean(wave, axis=1, keepdims=True)
        else:  # the padding is zero
            mean = jnp.sum(wave, axis=1, keepdims=True) / n_samples[:, None]
        wave = stft.silence_after(wave - mean, n_samples)
        return super()._frames(wave, n_samples)

    def _statistics(self) -> tuple[float, float]:
        return -4.2677393, 4.5689974
