import numpy as np
import pytest

from jaxsed.data.sampling import ExampleOrder
from jaxsed.data.shares import SharedOrder, example_order
from jaxsed.errors import InputError

from .fakes import FakeData

COUNTS, SHARES = (5, 40, 7), (1, 2, 1)
FIRST = np.cumsum([0, *COUNTS])


class FakeJoined(FakeData):
    def __init__(self):
        super().__init__(sum(COUNTS), seconds=0.04)
        self.parts = [FakeData(n, seconds=0.04) for n in COUNTS]


@pytest.fixture(scope="module")
def data():
    return FakeJoined()


def parts(rows):
    return np.searchsorted(FIRST, rows, side="right") - 1


def test_every_batch_has_its_shares(data):
    order = example_order(data, "uniform", 3, shares=SHARES)
    rows = order.rows(np.arange(400))
    of_batches = parts(rows).reshape(50, 8)
    for part, share in enumerate(SHARES):
        assert ((of_batches == part).sum(1) == 2 * share).all()
    # Two processes' halves of a batch have the same shares, too.
    halves = of_batches.reshape(100, 4)
    assert ((halves == 1).sum(1) == 2).all()


def test_every_folder_is_gone_through_in_an_order_of_its_own(data):
    rows = example_order(data, "uniform", 3, shares=SHARES).rows(np.arange(80))
    for part, (first, count) in enumerate(zip(FIRST, COUNTS)):
        own = rows[parts(rows) == part] - first
        for start in range(0, len(own) - count + 1, count):
            assert sorted(own[start : start + count]) == list(range(count))
    same = SharedOrder([ExampleOrder("uniform", s, 9) for s in (1, 2)], (1, 1))
    rows = same.rows(np.arange(18))
    assert (rows[rows < 9] != rows[rows >= 9] - 9).any()


@pytest.mark.parametrize("distance", [1, 2, 3])
def test_a_clip_has_neighbours_of_all_folders(data, distance):
    """Mixup's partners, which take known times with them or not."""
    rows = example_order(data, "uniform", 3, shares=SHARES).rows(np.arange(4000))
    own = parts(rows)
    partners = np.roll(own, -distance)
    for part in range(len(SHARES)):
        met = np.bincount(partners[own == part], minlength=len(SHARES)) / 1000
        if part == 1:
            met /= SHARES[part]
        assert (met > 0.05).all()


def test_positions_may_be_asked_for_in_any_order(data):
    order = example_order(data, "balanced", 3, shares=SHARES)
    rows = order.rows(np.arange(64))
    shuffled = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(order.rows(shuffled), rows[shuffled])
    assert (order.seed, order.n_clips) == (3, sum(COUNTS))
    assert order.sampling == "balanced 1:2:1"


def test_without_shares_all_clips_are_one_order(data):
    rows = example_order(data, "uniform", 3).rows(np.arange(sum(COUNTS)))
    assert sorted(rows) == list(range(sum(COUNTS)))
    alone = example_order(data.parts[0], "uniform", 3, shares=(4,))
    assert isinstance(alone, ExampleOrder)


@pytest.mark.parametrize("shares", [(1, 2), (1, 0, 1), (1, 1.5, 1), (1, True, 1)])
def test_shares_that_do_not_fit_are_refused(data, shares):
    with pytest.raises(InputError, match="one whole number, at least 1, for each of"):
        example_order(data, "uniform", 3, shares=shares)
