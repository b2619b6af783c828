"""The front-ends by name: all that lies between a waveform and an encoder.

Constants are those of PretrainedSED (`models/atstframe/ATSTF_wrapper.py`,
`models/frame_passt/preprocess.py`, `fpasst_wrapper.py`); encoders only work with the
front-end that they were trained with.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError
from jaxsed.frontends import stft
from jaxsed.frontends.kaldi import kaldi_bank
from jaxsed.frontends.mel import apply_bank, htk_bank

LABEL_FRAMES_PER_SECOND = 25  # 40 ms, the time grid of labels and logits


@dataclasses.dataclass(frozen=True)
class Preset:
    """A pure function from waveform to normalised log-mel spectrogram.

    Attributes:
        name: Its key in `PRESETS`.
        sample_rate: Expected rate of the waveform in Hz.
        hop_samples: Distance between two mel frames.
        n_mels: Number of mel bins.
        fft_samples: Length of the FFT.
        window_samples: Length of the window.
    """

    name: str
    sample_rate: int
    hop_samples: int
    n_mels: int
    fft_samples: int
    window_samples: int

    @property
    def frame_rate_hz(self) -> float:
        """Mel frames per second."""
        return self.sample_rate / self.hop_samples

    def window(self) -> np.ndarray:
        """Analysis window, float32 `[fft_samples]`."""
        return stft.hann_window(self.window_samples, self.fft_samples)

    def bank(self) -> np.ndarray:
        """Mel filterbank, float32 `[fft_samples // 2 + 1, n_mels]`."""
        raise NotImplementedError

    def n_samples(self, n_mel_frames: int) -> int:
        """Shortest clip, in samples, that gives so many mel frames."""
        raise NotImplementedError

    def n_label_frames(self, n_mel_frames: int) -> int:
        """Number of 40 ms label frames of a clip with so many mel frames.

        `ceil(25 * seconds)`, 250 for 10 s. The clip's length is known here to the
        hop only: a clip that ends less than a hop after a 40 ms border has its last
        label frame cut off, so cut or fill clips to whole label frames.
        """
        samples = self.n_samples(n_mel_frames) * LABEL_FRAMES_PER_SECOND
        return max(1, -(-samples // self.sample_rate))

    def __call__(self, wave: jax.Array) -> jax.Array:
        """Turns waveforms into mel spectrograms.

        Works at any length, never mixes clips and never gives NaN or infinity for
        finite input, digital silence included.

        Args:
            wave: `[b, n]` in [-1, 1] at `sample_rate`; float32 (or float64, kept).

        Returns:
            mel `[b, t, f]`, in the precision of `wave` but at least float32.

        Raises:
            InputError: If the clips are too short to make a frame.
        """
        raise NotImplementedError

    def _mel_power(self, wave: jax.Array) -> jax.Array:
        """Power in mel bins of frames centred on multiples of the hop, `[b, t, f]`."""
        wave = stft.pad_centered(wave, self.fft_samples)
        frames = stft.frame(wave, self.fft_samples, self.hop_samples)
        return apply_bank(stft.power_spectrum(frames, self.window()), self.bank())


@dataclasses.dataclass(frozen=True)
class AtstFrame(Preset):
    """Front-end of ATST-Frame: HTK mel, decibels, scaled to about [-1, 1].

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

    def n_samples(self, n_mel_frames: int) -> int:
        """Frames are centred on samples 0, hop, 2 hop, ...: 1001 frames in 10 s."""
        return max(1, (n_mel_frames - 1) * self.hop_samples)

    def __call__(self, wave: jax.Array) -> jax.Array:
        """See `Preset.__call__`; 160,000 samples give mel `[b, 1001, 64]`."""
        power = self._mel_power(_at_least_float32(wave))
        decibel = 10 * jnp.log10(jnp.maximum(power, 1e-10))
        loudest = jnp.max(decibel, axis=(1, 2), keepdims=True)
        decibel = jnp.clip(jnp.maximum(decibel, loudest - 80), -50, 80)
        low, high = -79.6482, 50.6842  # extremes of ATST's training data, in dB
        return (decibel - low) / (high - low) * 2 - 1


@dataclasses.dataclass(frozen=True)
class FPasst(Preset):
    """Front-end of frame-level PaSST: pre-emphasis, Kaldi mel, natural logarithm."""

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

    def n_samples(self, n_mel_frames: int) -> int:
        """Pre-emphasis takes a sample away: 1000 frames in 10 s, not 1001."""
        return max(2, n_mel_frames * self.hop_samples)

    def __call__(self, wave: jax.Array) -> jax.Array:
        """See `Preset.__call__`; 160,000 samples give mel `[b, 1000, 128]`."""
        wave = _at_least_float32(wave)
        # float32(0.97): the original stores the coefficient in single precision.
        wave = wave[:, 1:] - jnp.asarray(np.float32(0.97), wave.dtype) * wave[:, :-1]
        power = self._mel_power(wave)
        return (jnp.log(jnp.maximum(power, 1e-7)) + 4.5) / 5.0


def _at_least_float32(wave: jax.Array) -> jax.Array:
    wave = jnp.asarray(wave)
    if wave.ndim != 2 or wave.shape[1] < 2:
        raise InputError(
            f"A batch of clips has shape {wave.shape}; expected [clips, samples] with "
            "at least 2 samples. Leave empty clips out."
        )
    return wave.astype(jnp.promote_types(wave.dtype, jnp.float32))


PRESETS: dict[str, Preset] = {preset.name: preset for preset in (AtstFrame(), FPasst())}
