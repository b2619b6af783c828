import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from jaxsed.frontends.mel import apply_bank, htk_bank, slaney_bank
from tests import goldens

ATST = (64, 1024, 16_000, 60.0, 7800.0)


def test_htk_bank_is_that_of_torchaudio():
    # torchaudio computes its bank in float32; the filters are 2 to 60 bins wide.
    golden = goldens.load("ops")["melbank_atst"]
    np.testing.assert_allclose(htk_bank(*ATST), golden, atol=5e-6)


def test_slaney_bank_is_that_of_librosa():
    golden = goldens.load("ops")["melbank_m2d"]
    bank = slaney_bank(80, 400, 16_000, 50.0, 8000.0)
    np.testing.assert_allclose(bank.T, golden, rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize(
    "bank", [(80, 400, 16_000, 50.0, 8000.0), (64, 1024, 32_000, 50.0, 14_000.0)]
)
def test_slaney_banks_of_other_sizes_are_librosas(bank):
    n_mels, n_fft, rate, low, high = bank
    theirs = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=low, fmax=high
    )
    np.testing.assert_allclose(slaney_bank(*bank).T, theirs, rtol=2e-6, atol=1e-9)


def test_bank_is_float32_cached_and_protected():
    bank = htk_bank(*ATST)
    assert bank.dtype == np.float32 and not bank.flags.writeable
    assert htk_bank(*ATST) is bank


def test_every_filter_peaks_once_between_its_neighbours():
    bank = htk_bank(*ATST).astype(np.float64)
    peaks = bank.argmax(axis=0)
    assert (np.diff(peaks) > 0).all()
    assert (bank.max(axis=0) <= 1).all() and (bank.max(axis=0) > 0.5).all()


def test_apply_bank_sums_in_full_precision():
    rng = np.random.default_rng(0)
    power = np.exp(rng.normal(size=(1, 3, 513), scale=4)).astype(np.float32)
    bank = htk_bank(*ATST)
    exact = power.astype(np.float64) @ bank.astype(np.float64)
    mel = apply_bank(jnp.asarray(power), bank)
    assert mel.dtype == jnp.float32
    np.testing.assert_allclose(mel, exact, rtol=2e-6)
