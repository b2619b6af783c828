"""Scores of runs that differ in their fold and their seed: what one sample of them is.

A score of a task with folds is the mean over all folds. Where there are several seeds,
each gives one such mean, and those are the samples; of a single seed the folds are.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

SEEDS, FOLDS, RUNS = "seeds", "folds", "runs"


class Samples(NamedTuple):
    """Scores that can be averaged, and be compared with those of another model.

    Attributes:
        values: float64 [n].
        over: what they are samples of: `seeds`, `folds`, or `runs` where folds and
            seeds do not form a full table.
    """

    values: np.ndarray
    over: str

    @property
    def mean(self) -> float:
        """Of all samples."""
        return float(self.values.mean())

    @property
    def spread(self) -> float | None:
        """Standard deviation of the samples (n - 1); None of a single one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else None


def samples(scores: Mapping[tuple[str, int], float]) -> Samples:
    """Returns the samples of some runs.

    Args:
        scores: (name of the fold, seed) -> score; at least one.
    """
    folds = list(dict.fromkeys(fold for fold, _ in scores))
    seeds = list(dict.fromkeys(seed for _, seed in scores))
    if len(scores) < len(folds) * len(seeds):
        return Samples(np.array(list(scores.values()), float), RUNS)
    table = np.array([[scores[fold, seed] for fold in folds] for seed in seeds], float)
    if len(seeds) == 1 and len(folds) > 1:
        return Samples(table[0], FOLDS)
    return Samples(table.mean(axis=1), SEEDS)
