"""Front-ends against the original's numbers.

In float64 and with the original's float32-rounded windows and banks the numbers agree
to the rounding of their storage. What a float32 run differs by beyond that is rounding
noise of the FFT in bins far below the loudest one, seen through a logarithm.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS, AtstFrame, FPasst
from tests import goldens, synth

OPS = goldens.load("ops")
GOLDEN = {name: goldens.load(name) for name in ("ATST-F", "fpasst")}


class GoldenAtst(AtstFrame):
    def window(self):
        return OPS["window_atst_1024"]

    def bank(self):
        return OPS["melbank_atst"]


class GoldenFPasst(FPasst):
    def window(self):
        return np.pad(OPS["window_fpasst_400"], 56)

    def bank(self):
        return np.pad(OPS["melbank_fpasst_0_7000"], ((0, 0), (0, 1))).T


def clips():
    audio = goldens.load("audio")["audio"]
    return np.stack([synth.waveform(clip) for clip in audio])


def strided(mel, golden, key):
    """Our mel `[b, t, f]` at the points that are stored of the original's."""
    full = np.asarray(mel, np.float64).swapaxes(1, 2)[:, None]
    return goldens.strided(golden, key, full)


@pytest.fixture(scope="module")
def float64_mel():
    """Mel of the golden audio in float64, with golden and with our own constants."""
    with jax.enable_x64(True):
        wave = jnp.asarray(clips(), jnp.float64)
        presets = (GoldenAtst(), AtstFrame(), GoldenFPasst(), FPasst())
        mels = {type(preset): np.asarray(preset(wave)) for preset in presets}
    assert all(mel.dtype == np.float64 for mel in mels.values())
    return mels


def test_atst_is_the_original_with_its_constants(float64_mel):
    golden, mel = GOLDEN["ATST-F"], float64_mel[GoldenAtst]
    ours = strided(mel, golden, "mel_alone")
    np.testing.assert_allclose(ours, golden["mel_alone"], atol=1e-6)
    # Clip 1 is the louder one: its features are the same in the original's batch.
    ours = strided(mel, golden, "mel")[1]
    np.testing.assert_allclose(ours, golden["mel"][1], atol=1e-6)
    edge = np.concatenate([mel[:, :2], mel[:, -2:]], axis=1).swapaxes(1, 2)
    np.testing.assert_allclose(edge[1], golden["mel_edge"][1], atol=1e-6)


def test_atst_cuts_off_per_clip_where_the_original_mixes_the_batch(float64_mel):
    golden = GOLDEN["ATST-F"]
    ours = strided(float64_mel[GoldenAtst], golden, "mel")[0]
    # 80 dB below the loudest bin of the *batch* hides the quiet clip's details there.
    difference = golden["mel"][0] - ours
    assert difference.max() == pytest.approx(
        golden["batch_vs_alone_maxdiff"][0], abs=1e-6
    )
    assert difference.min() > -1e-6


def test_fpasst_is_the_original_with_its_constants(float64_mel):
    golden, mel = GOLDEN["fpasst"], float64_mel[GoldenFPasst]
    ours = strided(mel, golden, "mel")
    np.testing.assert_allclose(ours, golden["mel"], atol=1e-6)
    edge = np.concatenate([mel[:, :2], mel[:, -2:]], axis=1).swapaxes(1, 2)
    np.testing.assert_allclose(edge, golden["mel_edge"], atol=1e-6)


@pytest.mark.parametrize(
    ("preset", "name", "key", "largest"),
    [(AtstFrame, "ATST-F", "mel_alone", 1.3e-5), (FPasst, "fpasst", "mel", 8e-4)],
)
def test_our_exact_constants_move_only_quiet_bins(
    float64_mel, preset, name, key, largest
):
    error = strided(float64_mel[preset], GOLDEN[name], key) - GOLDEN[name][key]
    assert np.abs(error).max() < largest
    assert np.sqrt(np.mean(error**2)) < 3e-5


@pytest.mark.parametrize(
    ("preset", "name", "key"),
    [("atst_frame", "ATST-F", "mel_alone"), ("fpasst", "fpasst", "mel")],
)
def test_float32_is_as_good_as_the_originals_float32(preset, name, key):
    mel = jax.jit(PRESETS[preset])(jnp.asarray(clips()))
    assert mel.dtype == jnp.float32
    error = strided(mel, GOLDEN[name], key) - GOLDEN[name][key]
    original_rms = GOLDEN[name][f"{key}__f32err"][1]
    assert np.sqrt(np.mean(error**2)) < max(1e-6, 2 * original_rms)


def test_bfloat16_waves_are_not_transformed_in_bfloat16():
    wave = jnp.asarray(clips()[:, :3200]).astype(jnp.bfloat16)
    for preset in PRESETS.values():
        mel = preset(wave)
        assert mel.dtype == jnp.float32
        np.testing.assert_array_equal(mel, preset(wave.astype(jnp.float32)))


@pytest.mark.parametrize("name", PRESETS)
def test_a_clip_does_not_depend_on_its_mates(name):
    quiet, loud = clips()[:, 40_000:72_000] * np.float32([[0.01], [1.0]])
    preset = jax.jit(PRESETS[name])
    together = preset(np.stack([quiet, loud]))
    np.testing.assert_allclose(together[0], preset(quiet[None])[0], atol=2e-6)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("level", [0.0, 1e-30, 1.0])
def test_constant_input_stays_finite(name, level):
    wave = jnp.full((2, 8000), level, jnp.float32)
    mel, gradient = jax.value_and_grad(lambda x: PRESETS[name](x).mean())(wave)
    assert np.isfinite(mel) and np.isfinite(gradient).all()


def test_silence_is_the_lowest_value():
    silence = jnp.zeros((1, 16_000))
    atst = (-50 + 79.6482) / (50.6842 + 79.6482) * 2 - 1
    np.testing.assert_allclose(PRESETS["atst_frame"](silence), atst, rtol=1e-6)
    np.testing.assert_allclose(
        PRESETS["fpasst"](silence), (np.log(1e-7) + 4.5) / 5, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "n_samples", "n_frames", "n_label_frames"),
    [
        ("atst_frame", 160_000, 1001, 250),
        ("atst_frame", 32_000, 201, 50),
        ("atst_frame", 640, 5, 1),
        ("atst_frame", 2, 1, 1),
        ("fpasst", 160_000, 1000, 250),
        ("fpasst", 32_000, 200, 50),
        ("fpasst", 32_001, 201, 51),
        ("fpasst", 2, 1, 1),
    ],
)
def test_any_length(name, n_samples, n_frames, n_label_frames):
    preset = PRESETS[name]
    mel = jax.eval_shape(preset, jax.ShapeDtypeStruct((1, n_samples), jnp.float32))
    assert mel.shape == (1, n_frames, preset.n_mels)
    assert preset.n_label_frames(n_frames) == n_label_frames


@pytest.mark.parametrize("name", PRESETS)
def test_ten_seconds_have_250_label_frames_even_if_frames_are_short(name):
    assert {PRESETS[name].n_label_frames(t) for t in (998, 999, 1000)} == {250}
    assert PRESETS[name].frame_rate_hz == 100


@pytest.mark.parametrize("shape", [(2, 1), (2, 0), (160,)])
@pytest.mark.parametrize("name", PRESETS)
def test_too_short_or_unbatched_audio_is_named(name, shape):
    with pytest.raises(InputError, match=r"expected \[clips, samples\]"):
        PRESETS[name](jnp.zeros(shape))
