import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends import stft
from tests import goldens


@pytest.mark.parametrize(
    ("n_samples", "frame_samples", "hop_samples"),
    [
        (3000, 1024, 160),
        (1024, 1024, 160),
        (777, 480, 160),
        (777, 100, 160),
        (50, 7, 1),
    ],
)
def test_frame_cuts_the_same_samples_as_indexing(n_samples, frame_samples, hop_samples):
    wave = np.arange(2 * n_samples, dtype=np.float32).reshape(2, n_samples)
    frames = stft.frame(jnp.asarray(wave), frame_samples, hop_samples)
    starts = np.arange(0, n_samples - frame_samples + 1, hop_samples)
    expected = wave[:, starts[:, None] + np.arange(frame_samples)]
    np.testing.assert_array_equal(frames, expected)


def test_pad_centered_mirrors_without_repeating_the_border():
    padded = stft.pad_centered(jnp.arange(5.0)[None], frame_samples=6)
    np.testing.assert_array_equal(padded[0], [3, 2, 1, 0, 1, 2, 3, 4, 3, 2, 1])


def test_pad_centered_refuses_empty_clips():
    with pytest.raises(InputError, match=r"\(3, 0\).*at least one sample"):
        stft.pad_centered(jnp.zeros((3, 0)), 6)


def test_windows_are_those_of_the_originals():
    ops = goldens.load("ops")
    np.testing.assert_allclose(
        stft.hann_window(1024, 1024), ops["window_atst_1024"], atol=3e-7
    )
    window = stft.hann_window(400, 512)
    np.testing.assert_allclose(window[56:456], ops["window_fpasst_400"], atol=3e-7)
    assert not window[:56].any() and not window[456:].any()


def test_windows_are_shared_and_cannot_be_changed():
    window = stft.hann_window(400, 512)
    assert window is stft.hann_window(400, 512)
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 1


def test_power_spectrum_of_a_cosine_is_one_line():
    n = np.arange(64)
    frames = jnp.asarray(np.cos(2 * np.pi * 5 * n / 64), jnp.float32)[None, None]
    power = stft.power_spectrum(frames, np.ones(64, np.float32))
    assert power.shape == (1, 1, 33) and power.dtype == jnp.float32
    expected = np.zeros(33)
    expected[5] = 32.0**2
    np.testing.assert_allclose(power[0, 0], expected, atol=1e-3)
