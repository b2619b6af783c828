import math

import pytest

from jaxsed import metric_order
from jaxsed.evaluation import evaluator
from jaxsed.stages import pretext_scoring

KNOWN = (*evaluator.FRAME_METRICS, *evaluator.CLIP_METRICS, *pretext_scoring.METRICS)


def test_less_is_better_of_error_rates_and_losses_alone():
    less = {name for name in KNOWN if metric_order.lower_is_better(name)}
    assert less == set(metric_order.LOWER_IS_BETTER) == {"segment_1s_er", "nce", "mse"}
    assert not metric_order.lower_is_better("segment_1s_f1")


@pytest.mark.parametrize("prefix", ["", "eval/", "average/", "test/"])
def test_names_are_known_as_they_are_logged(prefix):
    assert metric_order.is_better(f"{prefix}map", 0.5, than=0.4)
    assert not metric_order.is_better(f"{prefix}map", 0.3, than=0.4)
    assert metric_order.is_better(f"{prefix}segment_1s_er", 0.3, than=0.4)
    assert not metric_order.is_better(f"{prefix}segment_1s_er", 0.5, than=0.4)


@pytest.mark.parametrize("metric", ["map", "nce"])
def test_equal_values_and_no_numbers_are_not_better(metric):
    assert not metric_order.is_better(metric, 0.4, than=0.4)
    assert not metric_order.is_better(metric, math.nan, than=0.4)


def test_the_best_of_several():
    assert metric_order.best("psds1", [0.2, 0.7, 0.1]) == 0.7
    assert metric_order.best("segment_1s_er", iter([0.2, 0.7, 0.1])) == 0.1
