import jax.numpy as jnp
import numpy as np

from jaxsed.frontends.m2d import M2d
from tests import goldens
from tests.test_frontends import golden_mel

GOLDEN = goldens.load("M2D")


def test_is_the_original_with_our_own_constants():
    mel = golden_mel.float64_mel(M2d())[M2d]
    golden_mel.assert_is_the_original(mel, GOLDEN)


def test_float32_is_as_good_as_the_originals_float32():
    golden_mel.assert_float32_is_as_good_as_the_originals(M2d(), GOLDEN)


def test_silence_is_the_lowest_value():
    mel = M2d()(jnp.zeros((1, 2000)))
    np.testing.assert_allclose(mel, (np.log(2.0**-23) + 7.1) / 4.2, rtol=1e-6)
