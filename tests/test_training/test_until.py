import math

import pytest

from jaxsed.errors import InputError
from jaxsed.training.until import Until


def test_more_passes_and_equal_does_not():
    until = Until("eval/map", 0.443)
    assert until.passed_by({"eval/map": 0.444, "eval/auc": 0.0})
    assert not until.passed_by({"eval/map": 0.443})
    assert not until.passed_by({"eval/auc": 0.9})


@pytest.mark.parametrize("undefined", [None, math.nan])
def test_what_is_not_defined_passes_nothing(undefined):
    assert not Until("eval/map", -1.0).passed_by({"eval/map": undefined})


def test_without_a_metric_nothing_passes():
    Until().check([])
    assert not Until().passed_by({"": 1.0, "eval/map": 1.0})


def test_mistakes_are_named():
    with pytest.raises(InputError, match="did you mean 'eval/map'"):
        Until("eval/mpa", 0.5).check(["eval/map", "eval/auc"])
    with pytest.raises(InputError, match=r"until\.value='0\.5': expected the number"):
        Until("eval/map", "0.5")
    with pytest.raises(InputError, match=r"until\.value=nan"):
        Until("eval/map", math.nan)
