import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.inference import waveforms


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(dtype):
    wave = np.array([[0.5, -0.25], [2.0, 0.0]], dtype)
    found = waveforms.checked(wave)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, wave)
    np.testing.assert_array_equal(waveforms.checked(wave.tolist()), wave)


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (np.zeros(160_000, np.float32), "wave\\[None\\]"),
        (np.zeros((1, 1, 9), np.float32), "shape"),
        (np.zeros((1, 0), np.float32), "shape"),
        (np.zeros((0, 9), np.float32), "shape"),
        (np.zeros((1, 9), np.int16), "wave / 32768"),
        (np.zeros((1, 9), np.complex64), "complex64"),
        ([["a"]], "floats"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0.0, np.inf]]), "infinite"),
        (np.array([[1e300]]), "infinite"),  # in float32
    ],
)
def test_others_are_refused(wave, message):
    with np.errstate(over="ignore"), pytest.raises(InputError, match=message):
        waveforms.checked(wave)
