import numpy as np
import pytest

from jaxsed.frontends.presets import PRESETS
from jaxsed.inference.overview import Overview, SpectrogramOverview


@pytest.mark.parametrize("n_frames", [1, 9, 19, 20, 21, 39, 40, 41, 1000, 12_345])
@pytest.mark.parametrize("block", [1, 7, 500, 20_000])
def test_columns_hold_the_highest_of_their_frames(n_frames, block):
    frames = np.random.default_rng(0).random((n_frames, 2), np.float32)
    overview = Overview(columns=10)
    for start in range(0, n_frames, block):
        overview.add(frames[start : start + block])
    columns, merged = overview.finish()
    assert len(columns) == -(-n_frames // merged) <= 20
    assert len(columns) >= min(n_frames, 10)
    for index, column in enumerate(columns):
        expected = frames[index * merged : (index + 1) * merged].max(axis=0)
        np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_tone_is_seen_when_and_where_it_sounds(name):
    frontend = PRESETS[name]
    rate = frontend.sample_rate
    time = np.arange(8 * rate) / rate
    tone = np.where((time > 3) & (time < 5), np.sin(2 * np.pi * 1000 * time), 0)
    overview = SpectrogramOverview(frontend, columns=50)
    for block in np.split(tone.astype(np.float32), [10, 2000, 70_000]):
        overview.add(block)
    decibels, seconds = overview.finish()
    assert decibels.shape[1] == frontend.n_mels
    assert len(decibels) * seconds == pytest.approx(8, abs=2 * seconds)
    power = decibels.max(axis=1)
    loud = np.flatnonzero(power > power.max() - 10) * seconds
    assert loud[0] == pytest.approx(3, abs=1.1 * seconds)
    assert loud[-1] == pytest.approx(5, abs=1.1 * seconds)
    loudest_bin = decibels[round(4 / seconds)].argmax()
    assert overview.bin_of([1000])[0] == pytest.approx(loudest_bin, abs=0.75)
    assert np.isnan(overview.bin_of([rate])).all()


@pytest.mark.parametrize("n_samples", [1, 100, 5000])
def test_short_and_silent_sounds_have_columns(n_samples):
    overview = SpectrogramOverview(PRESETS["atst_frame"], columns=50)
    overview.add(np.zeros(n_samples, np.float32))
    decibels, _ = overview.finish()
    assert len(decibels) >= 1 and np.isfinite(decibels).all()
