import math

import pytest

from jaxsed.errors import InputError
from jaxsed.training.until import Until


def test_more_passes_and_equal_does_not():
    until = Until("eval/map", 0.443)
    assert until.passed_by({"eval/map": 0.444, "eval/auc": 0.0})
    assert not until.passed_by({"eval/map": 0.443})
    assert not until.passed_by({"eval/auc": 0.9})


def test_less_passes_where_less_is_better():
    until = Until("eval/segment_1s_er", 0.5)
    assert until.passed_by({"eval/segment_1s_er": 0.499})
    assert not until.passed_by({"eval/segment_1s_er": 0.5})
    assert not until.passed_by({"eval/segment_1s_er": 0.7})
    assert str(until) == "eval/segment_1s_er is below 0.5"
    assert str(Until("eval/map", 0.443)) == "eval/map is above 0.443"


@pytest.mark.parametrize("undefined", [None, math.nan])
@pytest.mark.parametrize("metric, value", [("eval/map", -1.0), ("eval/nce", 9.0)])
def test_what_is_not_defined_passes_nothing(undefined, metric, value):
    assert not Until(metric, value).passed_by({metric: undefined})


def test_without_a_metric_nothing_passes():
    Until().check([])
    assert not Until().passed_by({"": 1.0, "eval/map": 1.0})


def test_mistakes_are_named():
    with pytest.raises(InputError, match="did you mean 'eval/map'"):
        Until("eval/mpa", 0.5).check(["eval/map", "eval/auc"])
    with pytest.raises(InputError, match=r"until\.value='0\.5': expected the number"):
        Until("eval/map", "0.5")
    with pytest.raises(InputError, match=r"until\.value=nan.*eval/mse is to be below"):
        Until("eval/mse", math.nan)
