"""Kaldi's mel filterbanks (triangles straight in mel, not in Hz), windows and frames.

Follows `torchaudio.compliance.kaldi`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.frontends import stft
from jaxsed.frontends.mel import triangles


@functools.cache
def kaldi_bank(
    n_mels: int,
    fft_samples: int,
    sample_rate: int,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """Triangular filters on Kaldi's mel scale, `mel = 1127 ln(1 + f / 700)`.

    Follows `get_mel_banks` without vocal tract length warping; Kaldi
    leaves the Nyquist bin out, so its row is zero.

    Args:
        n_mels: Number of filters.
        fft_samples: Length of the FFT.
        sample_rate: In Hz.
        low_hz: Lower edge of the first filter.
        high_hz: Upper edge of the last filter.

    Returns:
        float64 `[fft_samples // 2 + 1, n_mels]`, not writable: the original computes
        it in the precision of the waveform.
    """
    bin_mel = _bins_in_mel(fft_samples, sample_rate)
    edge_mel = np.linspace(_mel(low_hz), _mel(high_hz), n_mels + 2)
    bank = triangles(bin_mel, edge_mel)
    bank = np.pad(bank, ((0, 1), (0, 0)))
    bank.setflags(write=False)  # shared by every caller
    return bank


def kaldi_bank_between(
    n_mels: int,
    fft_samples: int,
    sample_rate: int,
    low_hz: jax.Array,
    high_hz: jax.Array,
) -> jax.Array:
    """`kaldi_bank` on the device, for edges that are only known there.

    Args:
        n_mels: Number of filters.
        fft_samples: Length of the FFT.
        sample_rate: In Hz.
        low_hz: Lower edge of the first filter, a scalar.
        high_hz: Upper edge of the last filter, a scalar.

    Returns:
        float32 `[fft_samples // 2 + 1, n_mels]`.
    """
    bin_mel = jnp.asarray(_bins_in_mel(fft_samples, sample_rate), jnp.float32)
    low_mel, high_mel = (
        1127 * jnp.log1p(jnp.asarray(hz, jnp.float32) / 700) for hz in (low_hz, high_hz)
    )
    edge_mel = jnp.linspace(low_mel, high_mel, n_mels + 2)
    return jnp.pad(triangles(bin_mel, edge_mel, jnp), ((0, 1), (0, 0)))


@functools.cache
def kaldi_window(
    window_samples: int, fft_samples: int, exponent: float = 1.0
) -> np.ndarray:
    """Symmetric Hann window to a power, with zeros behind it up to the FFT length.

    Args:
        window_samples: Length of the window itself.
        fft_samples: Length of the FFT, at least `window_samples`.
        exponent: 1 for Kaldi's "hanning", 0.85 for its "povey".

    Returns:
        float64 `[fft_samples]`: the original computes windows in the precision of the
        waveform.
    """
    window = np.zeros(fft_samples)
    window[:window_samples] = stft.hann(window_samples, periodic=False) ** exponent
    window.setflags(write=False)  # shared by every caller
    return window


def kaldi_frames(
    wave: jax.Array, window_samples: int, hop_samples: int, fft_samples: int
) -> jax.Array:
    """Cuts frames and takes mean and tilt out of each.

    Every frame for itself: minus its mean, then minus 0.97 times the sample before,
    where the first sample counts as its own predecessor. Only whole frames are cut
    (`snip_edges`); a clip shorter than one is filled up with zeros to one.

    Args:
        wave: `[b, n]`.
        window_samples: Length of a frame.
        hop_samples: Distance between the starts of two frames.
        fft_samples: Length up to which frames are filled with zeros.

    Returns:
        `[b, t, fft_samples]`.
    """
    missing = max(0, window_samples - wave.shape[1])
    wave = jnp.pad(wave, ((0, 0), (0, missing)))
    frames = stft.frame(wave, window_samples, hop_samples)
    frames = frames - jnp.mean(frames, axis=-1, keepdims=True)
    before = jnp.concatenate([frames[..., :1], frames[..., :-1]], axis=-1)
    frames = frames - 0.97 * before
    return jnp.pad(frames, ((0, 0), (0, 0), (0, fft_samples - window_samples)))


def _bins_in_mel(fft_samples, sample_rate):
    """All bins below the Nyquist frequency."""
    return _mel(np.arange(fft_samples // 2) * (sample_rate / fft_samples))


def _mel(hz):
    return 1127 * np.log(1 + np.asarray(hz) / 700)
