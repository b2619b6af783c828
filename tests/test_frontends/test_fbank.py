import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.fbank import Asit, Beats
from tests import goldens
from tests.test_frontends import golden_mel

GOLDEN = {Beats: goldens.load("BEATs"), Asit: goldens.load("ASIT")}


class GoldenBeats(Beats):
    def bank(self):
        return golden_mel.kaldi_bank("melbank_kaldi_20_8000")


class GoldenAsit(Asit):
    def bank(self):
        return golden_mel.kaldi_bank("melbank_kaldi_20_8000")


@pytest.fixture(scope="module")
def mels():
    return golden_mel.float64_mel(GoldenBeats(), Beats(), GoldenAsit(), Asit())


@pytest.mark.parametrize("preset", [GoldenBeats, GoldenAsit])
def test_is_the_original_with_its_bank(mels, preset):
    golden_mel.assert_is_the_original(mels[preset], GOLDEN[preset.__base__])


@pytest.mark.parametrize(
    ("preset", "key", "mean", "deviation"),
    [
        (GoldenBeats, "fbank_beats_raw", 15.41663, 6.55582),
        (GoldenAsit, "fbank_asit_raw", -4.2677393, 4.5689974),
    ],
)
def test_is_kaldis_fbank_before_it_is_standardised(mels, preset, key, mean, deviation):
    raw = mels[preset][0] * (2 * deviation) + mean
    # Stored in float32: half a unit in the last place of 16 is 1e-6.
    np.testing.assert_allclose(raw[::50, ::4], golden_mel.OPS[key], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("preset", "largest"), [(Beats, 1.5e-5), (Asit, 2.5e-5)])
def test_our_exact_bank_moves_only_quiet_bins(mels, preset, largest):
    golden_mel.assert_constants_move_only_quiet_bins(
        mels[preset], GOLDEN[preset], largest
    )


@pytest.mark.parametrize("preset", [Beats, Asit])
def test_float32_is_as_good_as_the_originals_float32(preset):
    golden_mel.assert_float32_is_as_good_as_the_originals(preset(), GOLDEN[preset])


@pytest.mark.parametrize(
    ("preset", "mean", "deviation"),
    [(Beats, 15.41663, 6.55582), (Asit, -4.2677393, 4.5689974)],
)
def test_silence_is_the_lowest_value(preset, mean, deviation):
    mel = preset()(jnp.zeros((1, 2000)))
    lowest = (np.log(2.0**-23) - mean) / (2 * deviation)
    np.testing.assert_allclose(mel, lowest, rtol=1e-6)
