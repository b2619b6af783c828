"""What every front-end is: constants, lengths, and the way from waveform to mel."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError, check_known
from jaxsed.frontends import stft
from jaxsed.frontends.mel import apply_bank
from jaxsed.frontends.pooling import POOLINGS, pool

Count = int | np.ndarray | jax.Array  # a number, or one for each clip

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
        pooling: How several frames become one of them, "avg_pool" or "max_pool"; empty
            where they do not.
        pooled_frames: How many do; they are a part of `hop_samples` apart.
    """

    name: str
    sample_rate: int
    hop_samples: int
    n_mels: int
    fft_samples: int
    window_samples: int
    pooling: str = ""
    pooled_frames: int = 1

    @property
    def padding(self) -> float | None:
        """What the encoder's authors fill up mel spectrograms with; None for nothing."""
        return None

    def compressed(self, method: str, factor: int) -> "Preset":
        """Returns the same front-end with fewer mel frames (From Coarse to Fine, 2.3).

        Window, filterbank and normalisation stay: the window is not longer where the
        hop is, and it is normalised log-mel that is pooled. `pooling.pool` says what
        becomes of frames that fill no window.

        Args:
            method: "fshift" for a longer hop, "avg_pool" or "max_pool".
            factor: C, how many times fewer frames.

        Raises:
            InputError: The method is unknown, or frames are pooled already.
        """
        check_known("way to thin out mel frames", method, ("fshift", *POOLINGS))
        if self.pooling:
            raise InputError(
                f"the mel frames of {self.name} are pooled already; compress the "
                "front-end as it is in PRESETS"
            )
        changed = {"hop_samples": self.hop_samples * factor}
        if method in POOLINGS:
            changed |= {"pooling": method, "pooled_frames": factor}
        return dataclasses.replace(self, **changed)

    @property
    def frame_rate_hz(self) -> float:
        """Mel frames per second."""
        return self.sample_rate / self.hop_samples

    def window(self) -> np.ndarray:
        """Analysis window `[fft_samples]`, as precise as the original's own."""
        return stft.hann_window(self.window_samples, self.fft_samples)

    def bank(self) -> np.ndarray:
        """Mel filterbank `[fft_samples // 2 + 1, n_mels]`, as precise as the original's."""
        raise NotImplementedError

    def draw_bank(self, key: jax.Array) -> jax.Array:
        """Mel filterbank of a training step, as the encoder's authors vary it.

        Pass it on: `preset(wave, bank=preset.draw_bank(key))`. Most front-ends are the
        same in training; then this is `bank()`.

        Args:
            key: Random key.

        Returns:
            `[fft_samples // 2 + 1, n_mels]`, traceable.
        """
        del key
        return jnp.asarray(self.bank())

    def n_mel_frames(self, n_samples: Count) -> Count:
        """Number of mel frames of a clip with so many samples, at least 1.

        Numbers and arrays (NumPy, JAX, traced) give their own kind.
        """
        return 1 + at_least(0, n_samples) // self.hop_samples

    def n_samples(self, n_mel_frames: Count) -> Count:
        """Shortest clip, in samples, that gives so many mel frames; see above."""
        return at_least(1, (n_mel_frames - 1) * self.hop_samples)

    def n_label_frames(self, n_mel_frames: Count) -> Count:
        """Number of 40 ms label frames of a clip with so many mel frames.

        `ceil(25 * seconds)`, 250 for 10 s. The clip's length is known here to the
        hop only: a clip that ends less than a hop after a 40 ms border has its last
        label frame cut off, so cut or fill clips to whole label frames.
        """
        samples = self.n_samples(n_mel_frames) * LABEL_FRAMES_PER_SECOND
        return -(-samples // self.sample_rate)

    def __call__(
        self,
        wave: jax.Array,
        n_samples: jax.Array | None = None,
        bank: jax.Array | None = None,
    ) -> jax.Array:
        """Turns waveforms into mel spectrograms.

        Works at any length from one sample, never mixes clips and never gives NaN or
        infinity for finite input, digital silence included.

        Args:
            wave: `[b, n]` in [-1, 1] at `sample_rate`; float32 (or float64, kept).
            n_samples: int `[b]`, how many samples are the clip's and not padding (0
                counts as 1); None for all. The first `n_mel_frames(n_samples)` frames
                are then those of the clip alone, whatever the padding holds; the rest
                is finite and means nothing.
            bank: Another filterbank in place of `bank()`, see `draw_bank`.

        Returns:
            mel `[b, t, f]`, in the precision of `wave` but at least float32.

        Raises:
            InputError: If the batch is not `[b, n]` or the clips are empty, or if
                `n_samples` is not one integer for each clip.
        """
        wave, n_samples = _checked(wave, n_samples)
        if self.pooling:
            return self._pooled(wave, n_samples, bank)
        frames = self._frames(stft.silence_after(wave, n_samples), n_samples)
        power = apply_bank(self._power(frames), self.bank() if bank is None else bank)
        n_mel_frames = None if n_samples is None else self.n_mel_frames(n_samples)
        return self._normalise(power, n_mel_frames)

    def _pooled(self, wave, n_samples, bank):
        """Mel frames of the hop that is a part of this one's, pooled."""
        full = dataclasses.replace(
            self,
            hop_samples=self.hop_samples // self.pooled_frames,
            pooling="",
            pooled_frames=1,
        )
        length = None if n_samples is None else full.n_mel_frames(n_samples)
        mel = full(wave, n_samples, bank)
        return pool(mel, self.pooling, self.pooled_frames, length, self.padding)

    def _frames(self, wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
        """Cuts the frames that are transformed, `[b, t, fft_samples]`."""
        wave = stft.pad_centered(wave, self.fft_samples, n_samples)
        return stft.frame(wave, self.fft_samples, self.hop_samples)

    def _power(self, frames: jax.Array) -> jax.Array:
        """Power spectra `[b, t, fft_samples // 2 + 1]` of the frames."""
        return stft.power_spectrum(frames, self.window())

    def _normalise(self, power: jax.Array, n_mel_frames: jax.Array | None) -> jax.Array:
        """Turns the power in mel bins, `[b, t, f]`, into what the encoder sees."""
        raise NotImplementedError


def at_least(low: int, count: Count) -> Count:
    """The larger of a number and a count, of the count's own kind."""
    if isinstance(count, jax.Array):
        return jnp.maximum(count, low)
    if isinstance(count, np.ndarray):
        return np.maximum(count, low)
    return max(count, low)


def _checked(wave, n_samples):
    wave = jnp.asarray(wave)
    if wave.ndim != 2 or wave.shape[1] < 1:
        raise InputError(
            f"A batch of clips has shape {wave.shape}; expected [clips, samples] with "
            "at least one sample. Leave empty clips out."
        )
    wave = wave.astype(jnp.promote_types(wave.dtype, jnp.float32))
    if n_samples is None:
        return wave, None
    n_samples = jnp.asarray(n_samples)
    integers = jnp.issubdtype(n_samples.dtype, jnp.integer)
    if n_samples.shape != wave.shape[:1] or not integers:
        raise InputError(
            f"The lengths of {len(wave)} clips are {n_samples.dtype} of shape "
            f"{n_samples.shape}; expected one integer number of samples for each clip."
        )
    return wave, jnp.clip(n_samples, 1, wave.shape[1])
