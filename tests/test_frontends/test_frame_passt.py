import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.frame_passt import FPasst, FrameMn
from tests import goldens
from tests.test_frontends import golden_mel

GOLDEN = {FPasst: goldens.load("fpasst"), FrameMn: goldens.load("frame_mn06")}


class GoldenFPasst(FPasst):
    def window(self):
        return np.pad(golden_mel.OPS["window_fpasst_400"], 56)

    def bank(self):
        return golden_mel.kaldi_bank("melbank_fpasst_0_7000")


class GoldenFrameMn(FrameMn):
    def window(self):
        return np.pad(golden_mel.OPS["window_frame_mn_400"], 56)

    def bank(self):
        return golden_mel.kaldi_bank("melbank_fpasst_0_7000")


@pytest.fixture(scope="module")
def mels():
    return golden_mel.float64_mel(GoldenFPasst(), FPasst(), GoldenFrameMn(), FrameMn())


@pytest.mark.parametrize("preset", [GoldenFPasst, GoldenFrameMn])
def test_is_the_original_with_its_constants(mels, preset):
    golden_mel.assert_is_the_original(mels[preset], GOLDEN[preset.__base__])


def test_our_window_is_the_originals():
    window = FrameMn().window()[56:456]
    expected = golden_mel.OPS["window_frame_mn_400"]
    np.testing.assert_allclose(window, expected, atol=3e-7)
    assert window[0] == window[-1] == 0 < window[1]


@pytest.mark.parametrize(("preset", "largest"), [(FPasst, 8e-4), (FrameMn, 3e-3)])
def test_our_exact_constants_move_only_quiet_bins(mels, preset, largest):
    golden_mel.assert_constants_move_only_quiet_bins(
        mels[preset], GOLDEN[preset], largest
    )


@pytest.mark.parametrize("preset", [FPasst, FrameMn])
def test_float32_is_as_good_as_the_originals_float32(preset):
    golden_mel.assert_float32_is_as_good_as_the_originals(preset(), GOLDEN[preset])


def test_training_varies_the_range_of_the_filters():
    keys = jax.random.split(jax.random.key(0), 500)
    banks = np.asarray(jax.jit(jax.vmap(FPasst().draw_bank))(keys))
    # The highest bin that is heard, 31.25 Hz apart: up to 6001 Hz at least, 8000 at most.
    highest = (banks.any(axis=2) * np.arange(257)).max(axis=1) * 31.25
    assert 5969 <= highest.min() < 6050 and 7950 < highest.max() < 8000
    assert np.abs(np.diff(np.quantile(highest, [0.25, 0.5, 0.75])) - 500).max() < 150
    # Bin 1 lies on the slope of the lowest filters, which moves with the lower edge.
    assert len({bank[1].tobytes() for bank in banks}) > 400


def test_silence_is_the_lowest_value():
    mel = FPasst()(jnp.zeros((1, 2000)))
    np.testing.assert_allclose(mel, (np.log(1e-7) + 4.5) / 5, rtol=1e-6)
