"""What examples compute by look-up; how they are cut is tested in test_pipelines."""

import numpy as np
import pytest

from jaxsed.data.examples import DecodedClips, sigmoid
from jaxsed.errors import InputError
from tests.test_data.fakes import RATE, FakeData


def test_the_sigmoid_of_every_float16_is_that_of_float32_arithmetic():
    logits = np.arange(65_536, dtype=np.uint16).view(np.float16)
    found = sigmoid(logits.reshape(256, 256)).ravel()
    assert found.dtype == np.float16
    numbers = ~np.isnan(logits)
    assert np.isnan(found[~numbers]).all()
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-logits[numbers].astype(np.float64)))
    np.testing.assert_allclose(found[numbers], expected, rtol=2**-11, atol=2**-23)
    assert sigmoid(np.float16([-np.inf, 0, np.inf])).tolist() == [0, 0.5, 1]
    every_other = sigmoid(logits[: 2**14 : 2])
    np.testing.assert_array_equal(every_other, found[: 2**14 : 2])


def test_a_clip_that_does_not_decode_is_named_with_its_place():
    data = FakeData(3)
    data.audio[1] = data.audio[1][:20]
    with pytest.raises(InputError, match=r"clip 'clip1' \(row 1\) cannot be decoded"):
        DecodedClips(data, RATE)[1]


def test_a_shard_that_cannot_be_read_speaks_for_itself():
    data = FakeData(3)

    def audio_bytes(row):
        raise InputError(f"shard 7 is damaged at clip {row}")

    data.audio_bytes = audio_bytes
    with pytest.raises(InputError, match=r"^shard 7 is damaged at clip 1$"):
        DecodedClips(data, RATE)[1]
