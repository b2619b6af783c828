import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation.significance import BETTER_BELOW, epsilon_min, violation_ratio


def integrated(a, b, points=200_000):
    """The ratio by its definition: quantiles at many points."""
    p = (np.arange(points) + 0.5) / points
    gap = np.sort(b)[np.ceil(p * len(b)).astype(int) - 1]
    gap = gap - np.sort(a)[np.ceil(p * len(a)).astype(int) - 1]
    return (np.maximum(gap, 0) ** 2).sum() / (gap**2).sum()


@pytest.mark.parametrize(("n", "m"), [(3, 3), (2, 5), (7, 3), (6, 4)])
def test_ratio_is_the_integral_over_quantiles(n, m):
    rng = np.random.default_rng(n * m)
    a, b = rng.normal(0.1, 1, n), rng.normal(0, 1, m)
    assert violation_ratio(a, b) == pytest.approx(integrated(a, b), abs=1e-4)
    assert violation_ratio(a, b) + violation_ratio(b, a) == pytest.approx(1)


def test_of_clear_cases_there_is_no_doubt():
    low, high = np.array([0.40, 0.41, 0.42]), np.array([0.50, 0.52, 0.51])
    assert epsilon_min(high, low, comparisons=5) == 0
    assert epsilon_min(low, high, comparisons=5) == 1
    assert violation_ratio(low, low) == 0.5


def test_more_comparisons_ask_for_more():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 20), rng.normal(0, 1, 20)
    one, five = epsilon_min(a, b), epsilon_min(a, b, comparisons=5)
    assert violation_ratio(a, b) < one < five
    assert epsilon_min(a, b) == one


def test_equal_models_are_rarely_called_different():
    rng = np.random.default_rng(1)
    called = [
        epsilon_min(*rng.normal(size=(2, 10)), bootstraps=200) < BETTER_BELOW
        for _ in range(300)
    ]
    assert np.mean(called) <= 0.05


def test_one_run_is_no_sample():
    with pytest.raises(InputError, match="at least two"):
        epsilon_min(np.array([0.5]), np.array([0.4, 0.3]))
    with pytest.raises(InputError, match="alpha=2"):
        epsilon_min(np.arange(3.0), np.arange(3.0), alpha=2)
