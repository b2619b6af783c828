"""Scores as probabilities, for what has a threshold or takes means of scores."""

from collections.abc import Sequence

import numpy as np

from jaxsed.errors import InputError


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities in the type of the logits, without losing small ones."""
    with np.errstate(over="ignore"):  # exp(710) is inf, and 1 / inf is right
        return 1 / (1 + np.exp(-logits))


def probabilities(scores: np.ndarray, clip_ids: Sequence[str]) -> np.ndarray:
    """Returns stored scores of some clips as probabilities, float64.

    Args:
        scores: `[b, ...]`. Those in float16 are logits (`scores.ScoreStore`), others
            probabilities (`score_tables.ScoreTables`).
        clip_ids: b ids, for errors.

    Raises:
        InputError: a score that is not finite, or not a probability.
    """
    values = scores.astype(np.float64)
    if scores.dtype == np.float16:
        right, what = np.isfinite(values), "finite numbers"
    else:
        right, what = (values >= 0) & (values <= 1), "probabilities"
    if not right.all():
        broken = right.reshape(len(right), -1).all(axis=1).argmin()
        raise InputError(f"the scores of clip {clip_ids[broken]!r} are not {what}")
    return sigmoid(values) if scores.dtype == np.float16 else values
