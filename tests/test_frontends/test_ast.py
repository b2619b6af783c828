import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.ast import AST_PRESETS
from jaxsed.frontends.presets import PRESETS
from tests import goldens, synth_clip

GOLDEN = goldens.load("ast")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_mel_is_the_originals(dtype):
    preset = PRESETS["ast"]
    with jax.enable_x64(dtype == "float64"):
        wave = jnp.asarray(synth_clip.waveform(10, 16_000, 0), dtype)[None]
        mel = np.asarray(jax.jit(preset)(wave))[0]
    assert mel.shape == (998, 128) and mel.dtype == dtype
    log_mel = mel * 2 * preset.deviation + preset.mean
    largest = 3 * GOLDEN["dev32/fbank"][0] if dtype == "float32" else 1e-9
    np.testing.assert_allclose(log_mel[::5, ::3], GOLDEN["fbank"], rtol=0, atol=largest)
    # Filter 3 lies between two bins of the spectrum and hears nothing.
    np.testing.assert_allclose(log_mel[:, 3], np.log(2.0**-23), rtol=1e-6)


# `egs/*/run.sh` of YuanGongND/ast; VGGSound and VoxCeleb: its authors' later recipes.
STATISTICS = {
    "ast": (-4.2677393, 4.5689974),
    "ast_esc50": (-6.6268077, 5.358466),
    "ast_speech_commands": (-6.845978, 5.5654526),
    "ast_vggsound": (-5.0767093, 4.4533687),
    "ast_voxceleb": (-3.7614744, 4.2011642),
}


def test_data_sets_differ_in_their_normalisation_alone():
    wave = 0.1 * jax.random.normal(jax.random.key(0), (2, 4000))
    raw = PRESETS["asit"](wave) * 2 * 4.5689974 - 4.2677393
    assert [preset.name for preset in AST_PRESETS] == list(STATISTICS)
    for name, (mean, deviation) in STATISTICS.items():
        expected = (raw - mean) / (2 * deviation)
        np.testing.assert_allclose(PRESETS[name](wave), expected, atol=1e-5)
        padding = (0 - mean) / (2 * deviation)
        assert PRESETS[name].padding == pytest.approx(padding, rel=1e-12)
