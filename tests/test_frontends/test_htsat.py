import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends import stft
from jaxsed.frontends.htsat import HtsAt
from tests import goldens, synth_clip

GOLDEN = goldens.load("htsat")


def stored(mel):
    """Ours `[1, t, f]` at the points that are stored of the original's."""
    return np.asarray(mel)[:, None, ::7, ::3]


def test_sines_and_bank_are_torchlibrosas():
    cosines, sines = stft.windowed_sines(HtsAt().window())
    for ours, name in ((cosines, "conv_real"), (-sines, "conv_imag")):
        golden = GOLDEN[f"derived/{name}"][:, 0]
        np.testing.assert_allclose(ours.T[::37, ::29], golden, rtol=0, atol=1e-13)
    np.testing.assert_allclose(HtsAt().bank()[::3], GOLDEN["derived/melW"], atol=2e-9)


@pytest.mark.parametrize(("dtype", "atol"), [("float32", 9e-4), ("float64", 1e-6)])
def test_log_mel_is_the_originals(dtype, atol):
    """In float32 as near as 3 times the original's own rounding, 3e-4 dB."""
    with jax.enable_x64(dtype == "float64"):
        wave = jnp.asarray(synth_clip.waveform(10, 32_000, 0)[None], dtype)
        mel = jax.jit(HtsAt())(wave)
        assert mel.shape == (1, 1001, 64) and mel.dtype == dtype
    np.testing.assert_allclose(stored(mel), GOLDEN["clip10/logmel"], rtol=0, atol=atol)


def test_silence_is_the_lowest_value():
    np.testing.assert_allclose(jax.jit(HtsAt())(jnp.zeros((1, 2000))), -100, atol=1e-5)
