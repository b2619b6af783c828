"""Which of two values of a metric is the better one: known here, and nowhere else."""

from collections.abc import Iterable

# The error rate of segments, and the two losses of pre-training by masked patches. Of all
# other metrics more is better.
LOWER_IS_BETTER = ("segment_1s_er", "nce", "mse")


def lower_is_better(metric: str) -> bool:
    """Whether less of a metric is better, as of an error rate.

    Args:
        metric: its name, alone or as it is logged: `eval/segment_1s_er`.
    """
    return metric.rpartition("/")[2] in LOWER_IS_BETTER


def sign(metric: str) -> int:
    """Returns what makes larger mean better: -1 where less is better, 1 elsewhere."""
    return -1 if lower_is_better(metric) else 1


def is_better(metric: str, value: float, than: float) -> bool:
    """Whether a value is better than another; equal is not, nor is what is no number."""
    return sign(metric) * value > sign(metric) * than


def best(metric: str, values: Iterable[float]) -> float:
    """Returns the best of one or more values of a metric."""
    return max(values, key=lambda value: sign(metric) * value)


def better_side(metric: str) -> str:
    """Returns on which side of a value the better ones lie: `above` or `below` it."""
    return "below" if lower_is_better(metric) else "above"
