import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.atst_frame import AtstFrame
from tests import goldens
from tests.test_frontends import golden_mel

GOLDEN = goldens.load("ATST-F")


class GoldenAtst(AtstFrame):
    def window(self):
        return golden_mel.OPS["window_atst_1024"]

    def bank(self):
        return golden_mel.OPS["melbank_atst"]


@pytest.fixture(scope="module")
def mels():
    return golden_mel.float64_mel(GoldenAtst(), AtstFrame())


def test_is_the_original_with_its_constants(mels):
    mel = mels[GoldenAtst]
    ours = golden_mel.strided(mel, GOLDEN, "mel_alone")
    np.testing.assert_allclose(ours, GOLDEN["mel_alone"], atol=1e-6)
    # Clip 1 is the louder one: its features are the same in the original's batch.
    ours = golden_mel.strided(mel, GOLDEN)[1]
    np.testing.assert_allclose(ours, GOLDEN["mel"][1], atol=1e-6)
    edge = golden_mel.edge(mel)[1]
    np.testing.assert_allclose(edge, GOLDEN["mel_edge"][1], atol=1e-6)


def test_cuts_off_per_clip_where_the_original_mixes_the_batch(mels):
    ours = golden_mel.strided(mels[GoldenAtst], GOLDEN)[0]
    # 80 dB below the loudest bin of the *batch* hides the quiet clip's details there.
    difference = GOLDEN["mel"][0] - ours
    assert difference.max() == pytest.approx(
        GOLDEN["batch_vs_alone_maxdiff"][0], abs=1e-6
    )
    assert difference.min() > -1e-6


def test_our_exact_constants_move_only_quiet_bins(mels):
    golden_mel.assert_constants_move_only_quiet_bins(
        mels[AtstFrame], GOLDEN, largest=1.3e-5, key="mel_alone"
    )


def test_float32_is_as_good_as_the_originals_float32():
    golden_mel.assert_float32_is_as_good_as_the_originals(
        AtstFrame(), GOLDEN, key="mel_alone"
    )


def test_silence_is_the_lowest_value():
    lowest = (-50 + 79.6482) / (50.6842 + 79.6482) * 2 - 1
    mel = AtstFrame()(jnp.zeros((1, 2000)))
    np.testing.assert_allclose(mel, lowest, rtol=1e-6)
