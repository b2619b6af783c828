"""Clip-level measures: average precision, AUC and d' of all classes, and accuracy."""

from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError

_BLOCK_CLASSES = 64  # 20,000 clips then take about 100 MB of working memory


class TaggingScores(NamedTuple):
    """Measures of each class, float64 `[c]`; NaN where a class does not allow one.

    Attributes:
        average_precision: 0 to 1; NaN without positive clips.
        auc: area under the ROC curve, 0 to 1; NaN without positive or negative clips.
        d_prime: separation in standard deviations; infinite where the AUC is 0 or 1.
        n_positive: number of positive clips, int64.
    """

    average_precision: np.ndarray
    auc: np.ndarray
    d_prime: np.ndarray
    n_positive: np.ndarray


def tagging_scores(scores: np.ndarray, labels: np.ndarray) -> TaggingScores:
    """Computes the measures of each class.

    Clips with equal scores are taken at one threshold, as in scikit-learn's
    `average_precision_score` and `roc_auc_score`, whose values these are.

    Args:
        scores: `[n, c]`, logits or probabilities.
        labels: `[n, c]`, nonzero where the class is in the clip.

    Raises:
        InputError: shapes differ, or scores are NaN.
    """
    scores, labels = _checked(scores, labels)
    labels = labels > 0
    values = []
    for start in range(0, scores.shape[1], _BLOCK_CLASSES):
        block = slice(start, start + _BLOCK_CLASSES)
        values.append(_block(scores[:, block], labels[:, block]))
    average_precision, auc = (np.concatenate(v) for v in zip(*values, strict=True))
    return TaggingScores(average_precision, auc, d_prime(auc), labels.sum(axis=0))


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the part of clips whose highest score is that of their label.

    The first class counts where several share the highest score, or the highest label:
    what scikit-learn's `accuracy_score` says of both `argmax`, as in AST
    (`src/utilities/stats.py`). A clip without a label counts as one of the first class.

    Args:
        scores: `[n, c]`, logits or probabilities.
        labels: `[n, c]`, not negative.

    Raises:
        InputError: shapes differ, or scores are NaN.
    """
    scores, labels = _checked(scores, labels)
    return float((scores.argmax(axis=1) == labels.argmax(axis=1)).mean())


def _checked(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or scores.shape != labels.shape or not scores.size:
        raise InputError(
            f"scores {list(scores.shape)} and labels {list(labels.shape)} must both be "
            "[clips, classes] and not empty"
        )
    broken = np.isnan(scores).any(axis=1)
    if broken.any():
        raise InputError(
            f"the scores of {broken.sum()} clips are NaN (first: row {broken.argmax()}); "
            "the model or its input is broken"
        )
    return scores, labels


def _block(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(scores)
    order = np.argsort(scores, axis=0)[::-1]
    ordered = np.take_along_axis(scores, order, axis=0)
    positive = np.take_along_axis(labels, order, axis=0)
    # The last clip of each group of equal scores: there lies the threshold of them all.
    place = np.arange(n)[:, None]
    is_last = np.ones(scores.shape, bool)
    is_last[:-1] = ordered[1:] != ordered[:-1]
    last = np.where(is_last, place, n)
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    is_first = np.ones(scores.shape, bool)
    is_first[1:] = is_last[:-1]
    first = np.maximum.accumulate(np.where(is_first, place, 0), axis=0)

    n_positive = positive.sum(axis=0)
    n_negative = n - n_positive
    found = np.take_along_axis(np.cumsum(positive, axis=0), last, axis=0)
    precision = found / (last + 1)
    # Mann-Whitney: a tie between a positive and a negative clip counts one half.
    rank = n - (first + last) / 2
    wins = (rank * positive).sum(axis=0) - n_positive * (n_positive + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        average_precision = (precision * positive).sum(axis=0) / n_positive
        auc = wins / (n_positive * n_negative)
    return average_precision, auc


def d_prime(auc: np.ndarray | float) -> np.ndarray | float:
    """Turns an AUC into d': sqrt(2) times the normal quantile of the AUC.

    Source: Hershey et al. 2017, "CNN architectures for large-scale audio
    classification". The d' of a set is that of the mean AUC, as in PSLA and AST.
    """
    from scipy.special import ndtri

    return np.sqrt(2.0) * ndtri(auc)
