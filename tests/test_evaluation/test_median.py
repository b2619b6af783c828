"""The median filter against scipy, the golden of the original, and by hand."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from jaxsed.errors import InputError
from jaxsed.evaluation import median

GOLDEN = Path(__file__).parents[1] / "golden" / "ops.npz"


def test_golden_of_the_original_with_nine_frames():
    golden = np.load(GOLDEN)
    scores = golden["median_in"].T  # stored class x time
    width = median.median_width_frames(median.RELEASED_CODE_MEDIAN_SECONDS, 0.04)
    assert width == 9
    filtered = median.median_filter(scores, width)
    np.testing.assert_array_equal(filtered.T, golden["median_out"])


def test_half_a_frame_goes_to_the_even_width_whatever_the_mean_of_frames_comes_to():
    # The mean of 402 frames of 20 ms, of which 0.25 s are more than 12.5.
    assert 0.25 / (8.04 / 402) > 12.5
    assert median.median_width_frames(0.25, 8.04 / 402) == 12
    assert median.median_width_frames(0.25, 0.02) == 12
    assert median.median_width_frames(0.27, 0.02) == 14


WIDTHS = [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 12, 15, 25]
# With windows much longer than the clip scipy 1.17 reads uninitialised memory.
CASES = [(w, n) for w in WIDTHS for n in (1, 4, 30) if w < 8 * n]


@pytest.mark.parametrize(("width", "n_frames"), CASES)
def test_equals_scipy_for_odd_and_even_widths(width, n_frames):
    rng = np.random.default_rng([width, n_frames])
    scores = rng.normal(size=(3, n_frames, 2)).round(1)  # rounded: many ties
    expected = ndimage.median_filter(scores, size=(1, max(width, 1), 1))
    np.testing.assert_array_equal(median.median_filter(scores, width), expected)
    np.testing.assert_array_equal(median.median_filter(scores[0], width), expected[0])


def test_window_much_longer_than_the_clip_is_reflected_again_and_again():
    scores = np.array([[0.1], [-0.1]])
    np.testing.assert_array_equal(median.median_filter(scores, 17), scores)


@pytest.mark.parametrize("width", [9, 12])
def test_tiles_leave_no_seam(width, monkeypatch):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 101, 3)).astype(np.float32)
    whole = median.median_filter(scores, width)
    monkeypatch.setattr(median, "_TILE_VALUES", 90)
    np.testing.assert_array_equal(median.median_filter(scores, width), whole)
    np.testing.assert_array_equal(
        whole, ndimage.median_filter(scores, size=(1, width, 1))
    )


def test_even_window_looks_back_and_takes_the_larger_middle_value():
    scores = np.zeros((12, 1))
    scores[5:7] = 1.0
    filtered = median.median_filter(scores, 4)[:, 0]
    # Windows t-2..t+1 holding two ones of four have middle values 0 and 1.
    np.testing.assert_array_equal(np.flatnonzero(filtered), [5, 6, 7])
    assert median.median_width_frames(median.PAPER_MEDIAN_SECONDS, 0.04) == 12


def test_float16_keeps_its_type_and_values():
    scores = np.random.default_rng(1).normal(size=(2, 40, 3)).astype(np.float16)
    filtered = median.median_filter(scores, 12)
    assert filtered.dtype == np.float16
    expected = median.median_filter(scores.astype(np.float64), 12)
    np.testing.assert_array_equal(filtered, expected)


def test_logits_and_probabilities_agree():
    logits = np.random.default_rng(2).normal(size=(60, 4))
    probabilities = 1 / (1 + np.exp(-logits))
    filtered = median.median_filter(logits, 12)
    np.testing.assert_array_equal(
        1 / (1 + np.exp(-filtered)), median.median_filter(probabilities, 12)
    )


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_impossible_width_is_refused(seconds):
    with pytest.raises(InputError, match="median filter width"):
        median.median_width_frames(seconds, 0.04)
