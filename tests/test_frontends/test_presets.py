"""What all front-ends promise; their numbers have test files of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS
from tests.test_frontends.golden_mel import clips


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


@pytest.mark.parametrize(
    ("name", "n_samples", "n_frames", "n_label_frames"),
    [
        ("atst_frame", 160_000, 1001, 250),
        ("atst_frame", 32_000, 201, 50),
        ("atst_frame", 640, 5, 1),
        ("atst_frame", 1, 1, 1),
        ("fpasst", 160_000, 1000, 250),
        ("fpasst", 32_000, 200, 50),
        ("fpasst", 32_001, 201, 51),
        ("fpasst", 1, 1, 1),
        ("m2d", 160_000, 1001, 250),
        ("m2d", 640, 5, 1),
        ("beats", 160_000, 998, 250),
        ("beats", 32_000, 198, 50),
        ("beats", 640, 2, 1),
        ("beats", 400, 1, 1),
        ("beats", 1, 1, 1),
        ("asit", 1, 1, 1),
    ],
)
def test_any_length(name, n_samples, n_frames, n_label_frames):
    preset = PRESETS[name]
    mel = jax.eval_shape(preset, jax.ShapeDtypeStruct((1, n_samples), jnp.float32))
    assert mel.shape == (1, n_frames, preset.n_mels)
    assert preset.n_label_frames(n_frames) == n_label_frames


@pytest.mark.parametrize("shape", [(2, 0), (160,)])
@pytest.mark.parametrize("name", PRESETS)
def test_too_short_or_unbatched_audio_is_named(name, shape):
    with pytest.raises(InputError, match=r"expected \[clips, samples\]"):
        PRESETS[name](jnp.zeros(shape))
