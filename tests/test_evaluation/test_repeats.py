import numpy as np
import pytest

from jaxsed.evaluation.repeats import samples

TABLE = {("a", 0): 0.1, ("b", 0): 0.3, ("a", 1): 0.5, ("b", 1): 0.9}


def test_of_several_seeds_each_is_the_mean_of_its_folds():
    found = samples(TABLE)
    assert found.over == "seeds"
    np.testing.assert_allclose(found.values, [0.2, 0.7])
    assert found.mean == pytest.approx(0.45)
    assert found.spread == pytest.approx(np.std([0.2, 0.7], ddof=1))


def test_of_a_single_seed_the_folds_are_the_samples():
    found = samples({("a", 0): 0.1, ("b", 0): 0.3})
    assert (found.over, found.values.tolist()) == ("folds", [0.1, 0.3])


def test_without_folds_the_seeds_are():
    found = samples({("", 3): 0.1, ("", 1): 0.3})
    assert (found.over, found.values.tolist()) == ("seeds", [0.1, 0.3])
    alone = samples({("", 3): 0.1})
    assert (alone.mean, alone.spread) == (0.1, None)


def test_where_a_run_is_missing_no_fold_counts_more_than_its_runs():
    found = samples({key: TABLE[key] for key in list(TABLE)[:3]})
    assert (found.over, found.values.tolist()) == ("runs", [0.1, 0.3, 0.5])
