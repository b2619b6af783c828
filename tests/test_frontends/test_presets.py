"""What all front-ends promise; their numbers have test files of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.ast import Ast
from jaxsed.frontends.presets import PRESETS
from tests.test_frontends.golden_mel import clips

# AST's are ASiT's with other numbers.
NAMES = [name for name, preset in PRESETS.items() if not isinstance(preset, Ast)]


def test_bfloat16_waves_are_not_transformed_in_bfloat16():
    wave = jnp.asarray(clips()[:, 48_000:49_000]).astype(jnp.bfloat16)
    for preset in map(PRESETS.get, NAMES):
        hear = jax.jit(lambda x, hear=preset: (hear(x), hear(x.astype(jnp.float32))))
        as_is, widened = hear(wave)
        assert as_is.dtype == jnp.float32
        np.testing.assert_array_equal(as_is, widened)


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_does_not_depend_on_its_mates(name):
    quiet, loud = clips()[:, 40_000:72_000] * np.float32([[0.01], [1.0]])
    preset = jax.jit(PRESETS[name])
    together = preset(np.stack([quiet, loud]))
    np.testing.assert_allclose(together[0], preset(quiet[None])[0], atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_silence_direct_current_and_full_scale_stay_finite(name):
    preset, lengths = PRESETS[name], jnp.array([0, 1, 350, 2000])

    def loudness(wave):
        return preset(wave).mean() + preset(wave, lengths).mean()

    heard = jax.jit(jax.value_and_grad(loudness))
    full_scale = np.sign(np.sin(np.arange(2000)))
    for level in (0.0, 1e-30, 1.0, -1.0, full_scale):
        wave = np.broadcast_to(np.float32(level), (4, 2000))
        mel, gradient = heard(wave)
        assert np.isfinite(mel) and np.isfinite(gradient).all()


# Mel frames of a clip: centred on multiples of the hop, one sample lost to
# pre-emphasis, or wholly within the clip.
N_MEL_FRAMES = {
    1: (1, 1, 1),
    160: (2, 1, 1),
    161: (2, 2, 1),
    399: (3, 3, 1),
    400: (3, 3, 1),
    560: (4, 4, 2),
    640: (5, 4, 2),
    32_000: (201, 200, 198),
    32_001: (201, 201, 198),
    160_000: (1001, 1000, 998),
}
FRAMING = {"atst_frame": 0, "m2d": 0, "fpasst": 1, "frame_mn": 1, "beats": 2, "asit": 2}
FRAMING["htsat"] = 0


@pytest.mark.parametrize("name", NAMES)
def test_number_of_mel_frames(name):
    preset = PRESETS[name]
    for n_samples_16_khz, frames in N_MEL_FRAMES.items():
        n_samples = n_samples_16_khz * preset.sample_rate // 16_000
        wave = jax.ShapeDtypeStruct((1, n_samples), jnp.float32)
        n_frames = frames[FRAMING[name]]
        assert jax.eval_shape(preset, wave).shape == (1, n_frames, preset.n_mels)
        assert preset.n_mel_frames(n_samples) == n_frames
    assert preset.n_mel_frames(0) == 1


@pytest.mark.parametrize("name", NAMES)
def test_shortest_clip_of_so_many_frames(name):
    preset = PRESETS[name]
    for n_frames in (2, 3, 4, 5, 198, 998, 1001):
        n_samples = preset.n_samples(n_frames)
        assert preset.n_mel_frames(n_samples) == n_frames
        assert preset.n_mel_frames(n_samples - 1) == n_frames - 1
    assert preset.n_samples(1) == 1


@pytest.mark.parametrize("name", NAMES)
def test_label_frames_of_whole_label_frames(name):
    preset = PRESETS[name]
    for n_label_frames in (1, 2, 3, 25, 249, 250, 1000):
        n_mel_frames = preset.n_mel_frames(preset.sample_rate // 25 * n_label_frames)
        assert preset.n_label_frames(n_mel_frames) == n_label_frames
    assert preset.n_label_frames(1) == 1
    # Mel spectrograms of 10 s are 998 frames long or more.
    assert {preset.n_label_frames(t) for t in (998, 999)} <= {250, 251}
    assert preset.frame_rate_hz == 100


@pytest.mark.parametrize("name", NAMES)
def test_lengths_of_many_clips_at_once(name):
    preset = PRESETS[name]
    lengths = [0, 1, 2, 399, 400, 401, 640, 159_999, 160_000]
    for count, values in (
        (preset.n_mel_frames, lengths),
        (preset.n_samples, range(1, 1002)),
        (preset.n_label_frames, range(1, 1002)),
    ):
        expected = [count(value) for value in values]
        assert all(type(number) is int for number in expected)
        array = np.array(values, np.int32)
        on_host, on_device = count(array), jax.jit(count)(jnp.asarray(array))
        assert isinstance(on_host, np.ndarray) and on_device.dtype == jnp.int32
        np.testing.assert_array_equal(on_host, expected)
        np.testing.assert_array_equal(on_device, expected)


def padded_and_alone(preset, lengths, dtype):
    """Mel of each clip as the valid frames of a padded batch, and of the clip alone."""
    # Programs that run once: compiling with all optimisations takes far longer.
    hear = jax.jit(preset, compiler_options={"xla_backend_optimization_level": 0})
    # Loud noise as padding, so that a leak cannot be overheard.
    wave = np.random.default_rng(0).uniform(-1, 1, (len(lengths), lengths.max()))
    own = np.arange(lengths.max()) < lengths[:, None]
    wave = np.where(own, 0.1 * wave, wave).astype(dtype)
    mel = np.asarray(hear(wave, lengths))
    assert np.isfinite(mel).all() and mel.dtype == dtype
    for row, n_samples in enumerate(lengths):
        alone = np.asarray(hear(wave[row : row + 1, :n_samples]))[0]
        assert len(alone) == preset.n_mel_frames(int(n_samples))
        yield mel[row, : len(alone)], alone


@pytest.mark.parametrize("name", NAMES)
def test_padded_clips_are_heard_as_if_alone(name):
    lengths = np.array([1, 399, 400, 640, 8000, 159_999, 160_000], np.int32)
    with jax.enable_x64(True):
        for padded, alone in padded_and_alone(PRESETS[name], lengths, np.float64):
            np.testing.assert_allclose(padded, alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_padded_clips_are_heard_as_if_alone_in_float32(name):
    # The same sums in another order: rounding noise, seen through a logarithm.
    lengths = np.array([150, 399, 8000], np.int32)
    for padded, alone in padded_and_alone(PRESETS[name], lengths, np.float32):
        assert np.sqrt(np.mean((padded - alone) ** 2)) < 2e-6
        np.testing.assert_allclose(padded, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_one_length_need_no_gather(name):
    wave = jax.ShapeDtypeStruct((2, 8000), jnp.float32)
    lengths = jax.ShapeDtypeStruct((2,), jnp.int32)
    ragged = str(jax.make_jaxpr(PRESETS[name])(wave, lengths))
    assert ragged != str(jax.make_jaxpr(PRESETS[name])(wave))
    assert "gather" not in str(jax.make_jaxpr(PRESETS[name])(wave))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_stay_within_the_clip(name):
    wave = jnp.asarray(clips()[:, 48_000:50_000])
    lengths = jnp.array([1, 700], jnp.int32)

    def loudness(wave):
        mel = PRESETS[name](wave, lengths)
        heard = PRESETS[name].n_mel_frames(lengths)
        inside = jnp.arange(mel.shape[1]) < heard[:, None]
        return jnp.sum(mel, where=inside[..., None])

    gradient = np.asarray(jax.jit(jax.grad(loudness))(wave))
    assert np.isfinite(gradient).all()
    assert gradient[1, :700].any() and not gradient[1, 700:].any()
    assert not gradient[0, 1:].any()


@pytest.mark.parametrize("lengths", [np.array([1.0, 2.0]), np.array([[1, 2]]), 2, [5]])
def test_lengths_that_do_not_fit_the_batch_are_named(lengths):
    with pytest.raises(InputError, match="one integer number of samples for each clip"):
        PRESETS["beats"](jnp.zeros((2, 800)), lengths)


@pytest.mark.parametrize("name", NAMES)
def test_bank_of_a_training_step(name):
    preset, wave = PRESETS[name], jnp.asarray(clips()[:1, 48_000:50_000])
    key = jax.random.key(0)
    bank = jax.jit(preset.draw_bank)(key)
    assert bank.shape == preset.bank().shape and bank.dtype == jnp.float32
    varied = np.abs(bank - preset.bank()).max() > 0
    assert varied == (name in ("fpasst", "frame_mn"))
    mel, plain = jax.jit(lambda x: (preset(x, bank=bank), preset(x)))(wave)
    assert np.isfinite(mel).all()
    assert bool(np.abs(mel - plain).max() > 0) == varied


@pytest.mark.parametrize("shape", [(2, 0), (160,)])
@pytest.mark.parametrize("name", NAMES)
def test_too_short_or_unbatched_audio_is_named(name, shape):
    with pytest.raises(InputError, match=r"expected \[clips, samples\]"):
        PRESETS[name](jnp.zeros(shape))
