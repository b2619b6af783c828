from pathlib import Path

import numpy as np
import pytest

from jaxsed.audio.resample import StreamResampler, resample
from jaxsed.errors import InputError

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ops.npz")


def tone(hz, rate, seconds=1.0):
    time = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * hz * time).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 22_050, 32_000, 44_100, 48_000])
def test_a_tone_keeps_its_place_and_level(rate):
    resampled = resample(tone(1000, rate), rate, 16_000)
    assert resampled.dtype == np.float32
    assert resampled.shape == (16_000,)
    middle = slice(2_000, -2_000)  # the ends ring
    expected = tone(1000, 16_000)
    np.testing.assert_allclose(resampled[middle], expected[middle], atol=1e-4)


def test_what_the_new_rate_cannot_hold_is_removed():
    resampled = resample(tone(9_500, 44_100), 44_100, 16_000)
    assert np.abs(resampled[2_000:-2_000]).max() < 1e-4


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000])
def test_agrees_with_the_original_below_its_transition_band(rate):
    """The original's short Kaiser sinc rolls off from 4 kHz on; soxr's filter does not.

    Energy of the difference relative to the wave's, in noise: -110 dB below
    2 kHz, -60 dB below 3 kHz, -20 dB below 5.5 kHz.
    """
    wave, expected = GOLDEN[f"resample_{rate}_in"], GOLDEN[f"resample_{rate}_out"]
    middle = slice(50, -50)
    window = np.hanning(len(expected) - 100)
    difference = resample(wave, rate, 16_000) - expected
    power = np.abs(np.fft.rfft(difference[middle] * window)) ** 2
    reference = np.abs(np.fft.rfft(expected[middle] * window)) ** 2
    hz = np.fft.rfftfreq(len(window), 1 / 16_000)
    for limit_hz, ratio in ((2_000, 1e-11), (3_000, 1e-6), (5_500, 1e-2)):
        below = hz < limit_hz
        assert power[below].sum() < ratio * reference[below].sum()


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100])
def test_a_stream_gives_the_same_samples(rate):
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(rate + 17).astype(np.float32)
    stream = StreamResampler(rate, 16_000)
    cuts = np.sort(rng.integers(0, len(wave), 9))
    pieces = [stream.push(piece) for piece in np.split(wave, cuts)]
    pieces.append(stream.finish())
    np.testing.assert_allclose(
        np.concatenate(pieces), resample(wave, rate, 16_000), atol=1e-6
    )


def test_equal_rates_change_nothing():
    wave = tone(100, 16_000)
    assert resample(wave, 16_000, 16_000) is wave


@pytest.mark.parametrize("rates", [(0, 16_000), (16_000, -1)])
def test_impossible_rates_are_refused(rates):
    with pytest.raises(InputError, match="expected a positive number"):
        resample(tone(100, 16_000), *rates)
    with pytest.raises(InputError, match="expected a positive number"):
        StreamResampler(*rates)
