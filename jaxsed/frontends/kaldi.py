"""Kaldi's mel filterbanks: triangles that are straight in mel, not in Hz."""

import functools

import numpy as np

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

    Follows `torchaudio.compliance.kaldi.get_mel_banks` without vocal tract length
    warping; Kaldi leaves the Nyquist bin out, so its row is zero. Computed in float64.

    Args:
        n_mels: Number of filters.
        fft_samples: Length of the FFT.
        sample_rate: In Hz.
        low_hz: Lower edge of the first filter.
        high_hz: Upper edge of the last filter.

    Returns:
        float32 `[fft_samples // 2 + 1, n_mels]`.
    """
    n_bins = fft_samples // 2
    bin_mel = _mel(np.arange(n_bins + 1) * (sample_rate / fft_samples))
    edge_mel = np.linspace(_mel(low_hz), _mel(high_hz), n_mels + 2)
    bank = triangles(bin_mel, edge_mel).copy()
    bank[n_bins] = 0.0
    bank.setflags(write=False)  # shared by every caller
    return bank


def _mel(hz):
    return 1127 * np.log(1 + np.asarray(hz) / 700)
