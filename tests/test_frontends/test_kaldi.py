import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.kaldi import (
    kaldi_bank,
    kaldi_bank_between,
    kaldi_frames,
    kaldi_window,
)
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


@pytest.mark.parametrize(("low_hz", "high_hz"), [(0, 7000), (20, 8000), (9, 6001)])
def test_bank_on_the_device_is_that_of_the_host(low_hz, high_hz):
    between = jax.jit(kaldi_bank_between, static_argnums=(0, 1, 2))
    bank = between(128, 512, 16_000, low_hz, high_hz)
    expected = kaldi_bank(128, 512, 16_000, float(low_hz), float(high_hz))
    # In float32, as the original's.
    np.testing.assert_allclose(bank, expected, atol=3e-5)


@pytest.mark.parametrize(
    ("golden", "exponent"),
    [("window_kaldi_povey_400", 0.85), ("window_kaldi_hanning_400", 1.0)],
)
def test_windows_are_those_of_torchaudio(golden, exponent):
    window = kaldi_window(400, 512, exponent)
    np.testing.assert_allclose(window[:400], goldens.load("ops")[golden], atol=1e-15)
    assert window.shape == (512,) and not window[400:].any()


def test_frames_lose_their_mean_and_tilt():
    wave = np.random.default_rng(0).normal(size=(2, 800)).astype(np.float32)
    frames = kaldi_frames(jnp.asarray(wave), 400, 160, 512)
    assert frames.shape == (2, 3, 512) and not np.asarray(frames)[..., 400:].any()
    centred = wave[1, 320:720] - wave[1, 320:720].mean()
    expected = centred - 0.97 * centred[np.maximum(np.arange(400) - 1, 0)]
    np.testing.assert_allclose(frames[1, 2, :400], expected, atol=1e-5)


def test_a_clip_shorter_than_a_frame_is_filled_up_with_zeros():
    wave = np.random.default_rng(0).normal(size=(1, 150)).astype(np.float32)
    short = kaldi_frames(jnp.asarray(wave), 400, 160, 512)
    filled = kaldi_frames(jnp.asarray(np.pad(wave, ((0, 0), (0, 250)))), 400, 160, 512)
    np.testing.assert_array_equal(short, filled)
