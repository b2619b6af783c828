"""What the tests of single front-ends share: golden audio, constants and comparisons.

In float64 and with the original's float32-rounded banks the numbers agree to the
rounding of their storage. What a float32 run differs by beyond that is rounding noise
of the DFT in bins far below the loudest one, seen through a logarithm.
"""

import jax
import jax.numpy as jnp
import numpy as np

from tests import goldens, synth

OPS = goldens.load("ops")


def clips():
    audio = goldens.load("audio")["audio"]
    return np.stack([synth.waveform(clip) for clip in audio])


def kaldi_bank(key):
    """A stored Kaldi bank, which lacks the empty Nyquist bin."""
    return np.pad(OPS[key], ((0, 0), (0, 1))).T


def float64_mel(*presets):
    """Mel of the golden audio in float64 by each preset's class."""
    with jax.enable_x64(True):
        wave = jnp.asarray(clips(), jnp.float64)
        mels = {type(preset): np.asarray(preset(wave)) for preset in presets}
    assert all(mel.dtype == np.float64 for mel in mels.values())
    return mels


def strided(mel, golden, key="mel"):
    """Our mel `[b, t, f]` at the points that are stored of the original's."""
    full = np.asarray(mel, np.float64).swapaxes(1, 2)[:, None]
    return goldens.strided(golden, key, full)


def edge(mel):
    """The first two and the last two frames, as stored in `mel_edge`."""
    return np.concatenate([mel[:, :2], mel[:, -2:]], axis=1).swapaxes(1, 2)


def assert_is_the_original(mel, golden):
    np.testing.assert_allclose(strided(mel, golden), golden["mel"], atol=1e-6, rtol=0)
    np.testing.assert_allclose(edge(mel), golden["mel_edge"], atol=1e-6, rtol=0)


def assert_constants_move_only_quiet_bins(mel, golden, largest, key="mel"):
    error = strided(mel, golden, key) - golden[key]
    assert np.abs(error).max() < largest
    original_rms = golden[f"{key}__f32err"][1]
    assert np.sqrt(np.mean(error**2)) < max(5e-6, original_rms)


def assert_float32_is_as_good_as_the_originals(preset, golden, key="mel"):
    mel = jax.jit(preset)(jnp.asarray(clips()))
    assert mel.dtype == jnp.float32
    error = strided(mel, golden, key) - golden[key]
    original_rms = golden[f"{key}__f32err"][1]
    assert np.sqrt(np.mean(error**2)) < max(1e-6, 1.5 * original_rms)
