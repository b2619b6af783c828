"""Mel filterbanks straight in Hz, and the product of a spectrum with a bank."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def htk_bank(
    n_mels: int,
    fft_samples: int,
    sample_rate: int,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """Triangular filters of height 1, equally spaced on the HTK mel scale.

    `mel = 2595 log10(1 + f / 700)`; the triangles are straight in Hz, as in
    torchaudio's `melscale_fbanks(mel_scale="htk", norm=None)`. Computed in float64.

    Args:
        n_mels: Number of filters.
        fft_samples: Length of the FFT.
        sample_rate: In Hz.
        low_hz: Lower edge of the first filter.
        high_hz: Upper edge of the last filter.

    Returns:
        float32 `[fft_samples // 2 + 1, n_mels]`.
    """
    bin_hz = np.linspace(0.0, sample_rate / 2, fft_samples // 2 + 1)
    low_mel, high_mel = 2595 * np.log10(1 + np.array([low_hz, high_hz]) / 700)
    edge_hz = 700 * (10 ** (np.linspace(low_mel, high_mel, n_mels + 2) / 2595) - 1)
    return freeze(triangles(bin_hz, edge_hz))


@functools.cache
def slaney_bank(
    n_mels: int,
    fft_samples: int,
    sample_rate: int,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """Triangular filters of equal area on the scale of Slaney's Auditory Toolbox.

    The scale is linear up to 1 kHz, at 200 / 3 Hz a mel, and logarithmic above, at a
    factor of 6.4 for 27 mel; filters have area 1 over Hz. This is `librosa.filters.mel`
    with its defaults, which nnAudio copies. Computed in float64.

    Args:
        n_mels: Number of filters.
        fft_samples: Length of the FFT.
        sample_rate: In Hz.
        low_hz: Lower edge of the first filter.
        high_hz: Upper edge of the last filter.

    Returns:
        float32 `[fft_samples // 2 + 1, n_mels]`.
    """
    bin_hz = np.linspace(0.0, sample_rate / 2, fft_samples // 2 + 1)
    corner_hz, corner_mel, log_step = 1000.0, 15.0, np.log(6.4) / 27

    def to_mel(hz):
        if hz < corner_hz:
            return hz * corner_mel / corner_hz
        return corner_mel + np.log(hz / corner_hz) / log_step

    edge_mel = np.linspace(to_mel(low_hz), to_mel(high_hz), n_mels + 2)
    edge_hz = np.where(
        edge_mel < corner_mel,
        edge_mel * corner_hz / corner_mel,
        corner_hz * np.exp(log_step * (edge_mel - corner_mel)),
    )
    return freeze(triangles(bin_hz, edge_hz) * 2 / (edge_hz[2:] - edge_hz[:-2]))


def freeze(constant: np.ndarray) -> np.ndarray:
    """Rounds a constant to float32 and protects it, as every caller gets the same."""
    constant = constant.astype(np.float32)
    constant.setflags(write=False)
    return constant


def triangles(bins, edges, xp=np):
    """Triangles of height 1 over `edges[k], edges[k + 1], edges[k + 2]`.

    Args:
        bins: Position of each spectrum bin `[bins]`, in the unit of `edges`.
        edges: Ascending corner points `[n_mels + 2]`.
        xp: The arrays' library, `numpy` or `jax.numpy`.

    Returns:
        `[bins, n_mels]`.
    """
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins[:, None] - left) / (centre - left)
    falling = (right - bins[:, None]) / (right - centre)
    return xp.maximum(0.0, xp.minimum(rising, falling))


def apply_bank(power: jax.Array, bank: np.ndarray | jax.Array) -> jax.Array:
    """Sums a power spectrum into mel bins, in full float32 on every backend.

    Accelerators multiply float32 matrices in bfloat16 unless told otherwise, which
    would leave quiet bins with two digits.

    Args:
        power: `[b, t, bins]`.
        bank: `[bins, f]`.

    Returns:
        `[b, t, f]`.
    """
    return jnp.matmul(
        power, jnp.asarray(bank, power.dtype), precision=jax.lax.Precision.HIGHEST
    )
