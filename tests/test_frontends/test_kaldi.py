import numpy as np
import pytest

from jaxsed.frontends.kaldi import kaldi_bank
from tests import goldens


@pytest.mark.parametrize(
    ("golden", "low_hz", "high_hz"),
    [
        ("melbank_fpasst_0_7000", 0.0, 7000.0),
        ("melbank_kaldi_20_8000", 20.0, 8000.0),
    ],
)
def test_kaldi_bank_is_that_of_torchaudio(golden, low_hz, high_hz):
    # torchaudio works in float32: at 8 kHz, mel values of 2840 with 2e-4 resolution
    # are divided by a filter width of 20.
    bank = kaldi_bank(128, 512, 16_000, low_hz, high_hz)
    expected = goldens.load("ops")[golden]
    np.testing.assert_allclose(bank[:256].T, expected, atol=2e-5)


def test_nyquist_bin_is_left_out():
    bank = kaldi_bank(128, 512, 16_000, 20.0, 8200.0)
    assert bank.shape == (257, 128)
    assert not bank[256].any() and bank[255].any()


def test_triangles_are_straight_in_mel():
    bank = kaldi_bank(10, 16_384, 16_000, 0.0, 8000.0).astype(np.float64)
    mel = 1127 * np.log(1 + np.arange(8193) * (16_000 / 16_384) / 700)
    rising = slice(np.searchsorted(mel, mel[-1] * 5 / 11) + 1, bank[:, 5].argmax())
    slopes = np.diff(bank[rising, 5]) / np.diff(mel[rising])
    np.testing.assert_allclose(slopes, 11 / mel[-1], rtol=1e-3)
