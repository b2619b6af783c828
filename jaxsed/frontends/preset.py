"""What every front-end is: constants, lengths, and the way from waveform to mel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError
from jaxsed.frontends import stft
from jaxsed.frontends.mel import apply_bank

LABEL_FRAMES_PER_SECOND = 25  # 40 ms, the time grid of labels and logits


@dataclasses.dataclass(frozen=True)
class Preset:
    """A pure function from waveform to normalised log-mel spectrogram.

    A front-end names its constants and filterbank and says how a mel spectrogram of
    powers is normalised. Frames are centred on samples 0, hop, 2 hop, ... of the clip,
    mirrored at its ends, unless it says otherwise.

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
        """Analysis window `[fft_samples]`, as precise as the original's own."""
        return stft.hann_window(self.window_samples, self.fft_samples)

    def bank(self) -> np.ndarray:
        """Mel filterbank, float32 `[fft_samples // 2 + 1, n_mels]`."""
        raise NotImplementedError

    def n_samples(self, n_mel_frames: int) -> int:
        """Shortest clip, in samples, that gives so many mel frames."""
        return max(1, (n_mel_frames - 1) * self.hop_samples)

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
            InputError: If the batch is not `[b, n]` or the clips are empty.
        """
        frames = self._frames(_at_least_float32(wave))
        return self._normalise(apply_bank(self._power(frames), self.bank()))

    def _frames(self, wave: jax.Array) -> jax.Array:
        """Cuts the frames that are transformed, `[b, t, fft_samples]`."""
        wave = stft.pad_centered(wave, self.fft_samples)
        return stft.frame(wave, self.fft_samples, self.hop_samples)

    def _power(self, frames: jax.Array) -> jax.Array:
        """Power spectra `[b, t, fft_samples // 2 + 1]` of the frames."""
        return stft.power_spectrum(frames, self.window())

    def _normalise(self, power: jax.Array) -> jax.Array:
        """Turns the power in mel bins, `[b, t, f]`, into what the encoder sees."""
        raise NotImplementedError


def _at_least_float32(wave: jax.Array) -> jax.Array:
    wave = jnp.asarray(wave)
    if wave.ndim != 2 or wave.shape[1] < 1:
        raise InputError(
            f"A batch of clips has shape {wave.shape}; expected [clips, samples] with "
            "at least one sample. Leave empty clips out."
        )
    return wave.astype(jnp.promote_types(wave.dtype, jnp.float32))
