"""Almost Stochastic Order: does one model really score higher than another?

Dror, Shlomov and Reichart (2019), "Deep Dominance", with the test of del Barrio,
Cuesta-Albertos and Matran (2018). It compares the scores of all runs (seeds) of two
models, whatever their distribution. The first paper uses it with a confidence of 0.95,
a Bonferroni correction over its five models, and calls a model better below 0.2.
"""

import numpy as np
from scipy.stats import norm

from jaxsed.errors import InputError

ALPHA = 0.05  # Effective Pre-Training, section III-A
BETTER_BELOW = 0.2  # tau, ibid.
BOOTSTRAPS = 1000  # default of the authors' packages


def violation_ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns how much of what parts two samples speaks against `a` being better.

    The squared 2-Wasserstein distance of both samples, taken where `b` has the higher
    quantile, over all of it. Empirical quantiles are steps, so the integral is exact.

    Args:
        a: `[..., n]`, scores of a model's runs; higher is better.
        b: `[..., m]`, those of the other one.

    Returns:
        `[...]`, 0 (`a` is better at every quantile) to 1; 0.5 for equal samples.
    """
    n, m = a.shape[-1], b.shape[-1]
    # Breaks of both step functions, in exact units of 1 / (n m).
    breaks = np.union1d(np.arange(0, n * m + 1, m), np.arange(0, n * m + 1, n))
    width, start = np.diff(breaks), breaks[:-1]
    gap = np.sort(b)[..., start // n] - np.sort(a)[..., start // m]
    against = (np.maximum(gap, 0) ** 2 * width).sum(axis=-1)
    distance = (gap**2 * width).sum(axis=-1)
    return np.where(distance > 0, against / np.where(distance > 0, distance, 1), 0.5)


def epsilon_min(
    a: np.ndarray,
    b: np.ndarray,
    *,
    comparisons: int = 1,
    alpha: float = ALPHA,
    bootstraps: int = BOOTSTRAPS,
    seed: int = 0,
) -> float:
    """Returns the upper confidence limit of the violation ratio, 0 to 1.

    Below 0.5, `a` is better more often than not; below `BETTER_BELOW`, the paper calls
    it better.

    Args:
        a: scores of a model's runs, at least two; higher is better.
        b: those of the model that it is compared with.
        comparisons: how many such comparisons are made (Bonferroni).
        alpha: level of significance of all of them together.
        bootstraps: how often both samples are drawn anew.
        seed: of these draws; the same numbers always give the same result.

    Raises:
        InputError: fewer than two scores, one that is not finite, or a setting out of
            range.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    for scores in (a, b):
        if scores.ndim != 1 or len(scores) < 2 or not np.isfinite(scores).all():
            raise InputError(
                f"scores {scores.tolist()}: a test of significance needs at least two "
                "finite numbers of each model, one for each run"
            )
    if comparisons < 1 or not 0 < alpha < 1 or bootstraps < 2:
        raise InputError(
            f"comparisons={comparisons}, alpha={alpha}, bootstraps={bootstraps}: expected "
            "at least 1, a number between 0 and 1, and at least 2"
        )
    rng = np.random.default_rng(seed)
    drawn = violation_ratio(
        rng.choice(a, (bootstraps, len(a))), rng.choice(b, (bootstraps, len(b)))
    )
    limit = violation_ratio(a, b) - drawn.std() * norm.ppf(alpha / comparisons)
    return float(np.clip(limit, 0, 1))
