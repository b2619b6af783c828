"""Keys order as the scores do, and are equal where these are."""

import numpy as np
import pytest

from jaxsed.evaluation import keys


def test_every_float16_is_ordered():
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = bits.view(np.float16)
    numbers = numbers[~np.isnan(numbers)]
    found = keys.of_float16(numbers)
    order = np.argsort(numbers.astype(np.float64), kind="stable")
    rises = np.diff(numbers[order].astype(np.float64)) > 0
    np.testing.assert_array_equal(np.diff(found[order].astype(int)) > 0, rises)
    assert found.min() > keys.NO_SCORE
    assert found.max() < keys.N_FLOAT16_KEYS - 1
    zero, minus_zero = keys.of_float16(np.array([0.0, -0.0], np.float16))
    assert zero == minus_zero


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, -np.nan])
def test_what_is_not_finite_is_seen(value):
    for numbers in ([65504, -65504, 0], [value, 0, 1]):
        found = keys.of_float16(np.array(numbers, np.float16))
        assert keys.all_finite(found) == np.isfinite(numbers).all()


def test_ranks_of_any_floats():
    scores = np.array([0.1, 0.1 + 1e-18, -3.0, np.nextafter(0.1, 1), -0.0, 0.0])
    found, n_keys = keys.ranks(scores)
    np.testing.assert_array_equal(found, [3, 3, 1, 4, 2, 2])
    assert n_keys == 6  # 0 for no score, 5 above all


def test_counts_are_added_and_taken_away():
    histogram = np.zeros(10, np.int32)
    keys.add_counts(histogram, np.array([3, 5, 3], np.uint16))
    keys.add_counts(histogram, np.array([5, 9], np.uint16), -1)
    keys.add_counts(histogram, np.array([], np.uint16))
    np.testing.assert_array_equal(histogram, [0, 0, 0, 2, 0, 0, 0, 0, 0, -1])
    np.testing.assert_array_equal(
        keys.from_the_top(histogram), [1, 1, 1, 1, -1, -1, -1, -1, -1, -1]
    )
