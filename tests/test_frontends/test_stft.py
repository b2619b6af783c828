import jax
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


def test_pad_centered_mirrors_each_clip_at_its_own_end():
    wave = np.random.default_rng(0).normal(size=(6, 9)).astype(np.float32)
    lengths = np.array([1, 2, 3, 6, 8, 9])
    padded = stft.pad_centered(jnp.asarray(wave), 8, jnp.asarray(lengths))
    assert padded.shape == (6, 17)
    for row, length in enumerate(lengths):
        alone = np.pad(wave[row, :length], 4, mode="reflect")
        np.testing.assert_array_equal(padded[row, : length + 8], alone)
        by_static = stft.pad_centered(jnp.asarray(wave[row : row + 1, :length]), 8)
        np.testing.assert_array_equal(by_static[0], alone)
        assert set(np.asarray(padded[row])) <= set(wave[row, :length])


def test_silence_after_the_end_of_each_clip():
    wave = jnp.ones((2, 3)).at[0, 2].set(jnp.nan)
    silenced = stft.silence_after(wave, jnp.array([1, 3]))
    np.testing.assert_array_equal(silenced, [[1, 0, 0], [1, 1, 1]])
    assert stft.silence_after(wave, None) is wave


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


def test_symmetric_window_is_that_of_the_original():
    ops = goldens.load("ops")
    window = stft.hann_window(400, 512, periodic=False)
    np.testing.assert_allclose(window[56:456], ops["window_frame_mn_400"], atol=3e-7)


def test_windowed_sines_are_nnaudios_to_the_last_bit():
    ops = goldens.load("ops")
    cosines, sines = stft.windowed_sines(stft.hann_window(400, 400))
    rows = [0, 7, 200]
    for ours, name in ((cosines, "wcos"), (sines, "wsin")):
        golden = ops[f"m2d_stft_{name}_rows_0_7_200"]
        np.testing.assert_array_equal(ours.T[rows][:, ::5], golden)
    sums = [np.abs(matrix, dtype=np.float64).sum() for matrix in (cosines, sines)]
    np.testing.assert_allclose(sums, ops["m2d_stft_wcos_stats"], rtol=1e-12)


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


# Two lengths of frames, two ways to multiply by rounded sines.
BOTH_LENGTHS = pytest.mark.parametrize(
    "window", [stft.hann_window(400, 400), stft.hann(1024, True)]
)


@BOTH_LENGTHS
def test_rounded_sines_say_what_the_fft_says(window):
    frames = np.random.default_rng(0).normal(size=(2, 3, len(window)))
    frames = frames.astype(np.float32)
    by_fft = stft.power_spectrum(jnp.asarray(frames), window)
    by_sines = stft.power_spectrum(jnp.asarray(frames), window, rounded_sines=True)
    np.testing.assert_allclose(by_sines, by_fft, atol=1e-6 * by_fft.max())


@BOTH_LENGTHS
def test_rounded_sines_are_multiplied(window):
    frames = np.random.default_rng(0).normal(size=(2, 3, len(window)))
    real, imaginary = (
        frames @ np.float64(part) for part in stft.windowed_sines(window)
    )
    product = real**2 + imaginary**2

    def off(rounded_sines, dtype):
        power = stft.power_spectrum(jnp.asarray(frames, dtype), window, rounded_sines)
        assert power.dtype == dtype
        return np.sqrt(np.mean((np.asarray(power) - product) ** 2)) / product.max()

    assert off(True, jnp.float32) < 1e-7
    with jax.enable_x64(True):
        # Some sines that mirror each other were rounded apart.
        assert off(True, jnp.float64) < 0.05 * off(False, jnp.float64)


@pytest.mark.parametrize("rounded_sines", [False, True])
@pytest.mark.parametrize(
    "window", [stft.hann_window(400, 400), np.pad(stft.hann(400, False), (0, 112))]
)
def test_the_matrix_of_tpus_says_what_the_fft_says(window, rounded_sines):
    frames = np.random.default_rng(0).normal(size=(2, 3, len(window)))
    exact = np.abs(np.fft.rfft(frames * window)) ** 2
    by_matrix = stft.matrix_power_spectrum(
        jnp.asarray(frames, jnp.float32), window, rounded_sines
    )
    assert by_matrix.shape == exact.shape
    np.testing.assert_allclose(by_matrix, exact, atol=3e-6 * exact.max())


def test_tpus_multiply_and_others_transform():
    frames = jax.ShapeDtypeStruct((1, 2, 64), jnp.float32)
    lowered = jax.jit(lambda x: stft.power_spectrum(x, np.ones(64))).trace(frames)
    for platform, operation in (("tpu", "dot_general"), ("cpu", "fft")):
        text = lowered.lower(lowering_platforms=(platform,)).as_text()
        found = {name for name in ("dot_general", "fft") if f"stablehlo.{name}" in text}
        assert found == {operation}
