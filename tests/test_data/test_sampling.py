import json
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from jaxsed.data import activity, sampling
from jaxsed.data.activity import ClassActivity
from jaxsed.data.sampling import ExampleOrder, importance_weights
from jaxsed.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden" / "ops.npz"
ORDERS = ("uniform", "balanced", "balanced_epoch")


def activity_of(seconds):
    """A clip and class a row and column: an event of each that is not 0."""
    seconds = np.array(seconds, float)
    clips, labels = np.nonzero(seconds)
    counts = np.bincount(clips, minlength=len(seconds))
    onsets = np.zeros(len(clips))
    events = np.append(0, np.cumsum(counts)), labels, onsets, seconds[clips, labels]
    return ClassActivity(*events, seconds.shape[1])


def order_of(sampling, seed=3, weights=(0.0, 1.0, 2.0, 5.0), **options):
    weights = np.array(weights)
    return ExampleOrder(sampling, seed, len(weights), weights, **options)


def test_released_weights_equal_the_golden_ones():
    golden = np.load(GOLDEN)
    frames = golden["sampler_event_count"]
    weights = importance_weights(activity_of(frames * 0.04), mode="released")
    np.testing.assert_allclose(weights, golden["sampler_weights"], rtol=1e-5)


def test_released_epoch_is_without_replacement_like_the_golden_default():
    defaults = json.loads(str(np.load(GOLDEN)["sampler_defaults"]))
    assert defaults["replacement"] is False
    order = order_of("balanced_epoch", weights=np.ones(defaults["length"]))
    epoch = order.rows(np.arange(defaults["num_samples"]))
    assert sorted(epoch) == list(range(defaults["length"]))
    assert sampling.RELEASED_EPOCH_CLIPS == 100_000


def test_paper_weights_are_inverse_total_active_time_of_the_clips_classes():
    active = [[2.0, 0.0], [6.0, 0.5], [0.0, 0.0]]
    weights = importance_weights(activity_of(active))
    np.testing.assert_allclose(weights, [1 / 8, 1 / 8 + 1 / 0.5, 0.0], rtol=1e-15)


def test_a_class_counts_once_a_clip_however_many_events_it_has():
    columns = np.zeros(4), np.array([1.0, 2.0, 3.0, 2.0])
    activity = ClassActivity(np.array([0, 3, 4]), np.zeros(4, int), *columns, 1)
    np.testing.assert_allclose(importance_weights(activity), [1 / 8, 1 / 8])
    released = importance_weights(activity, "released")
    np.testing.assert_allclose(released[0] / released[1], 3.0)


def test_weights_are_the_same_in_pieces(monkeypatch):
    seconds = activity_of(np.random.default_rng(0).random((50, 4)))
    whole = [importance_weights(seconds, mode) for mode in ("paper", "released")]
    monkeypatch.setattr(activity, "_CLIPS_AT_ONCE", 7)
    pieces = [importance_weights(seconds, mode) for mode in ("paper", "released")]
    np.testing.assert_allclose(pieces, whole, rtol=1e-14)


def test_clips_without_labels_are_counted(caplog):
    with caplog.at_level("WARNING"):
        importance_weights(activity_of([[0.0], [1.0], [0.0]]))
    assert "2 of 3 clips have no active class" in caplog.text


@pytest.mark.parametrize(
    ("active", "mode", "message"),
    [
        (np.zeros((3, 2)), "paper", "none of the 3 clips"),
        (np.zeros((3, 2)), "released", "none of the 3 clips"),
        (-np.ones((3, 2)), "paper", "not negative"),
        (np.full((3, 2), np.nan), "paper", "finite"),
        (np.ones((3, 2)), "inverse", "'paper' or 'released'"),
    ],
)
def test_bad_activity_is_refused(active, mode, message):
    with pytest.raises(InputError, match=message):
        importance_weights(activity_of(active), mode)


@pytest.mark.parametrize("sampling", ORDERS)
def test_an_order_can_be_entered_anywhere(sampling):
    whole = order_of(sampling).rows(np.arange(100))
    fresh = order_of(sampling)
    assert [fresh[p] for p in (97, 3, 50)] == whole[[97, 3, 50]].tolist()
    copied = pickle.loads(pickle.dumps(fresh))
    np.testing.assert_array_equal(copied.rows(np.arange(40, 90)), whole[40:90])
    assert (order_of(sampling, seed=4).rows(np.arange(100)) != whole).any()


def test_uniform_gives_every_clip_once_an_epoch_in_changing_order():
    order = ExampleOrder("uniform", seed=0, n_clips=50)
    epochs = order.rows(np.arange(200)).reshape(4, 50)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(50), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4


@pytest.mark.parametrize("weights", [(0, 1, 2, 5), (0, 4, 0, 1, 3, 0)])
def test_balanced_frequencies_are_the_weights(weights):
    order = order_of("balanced", weights=np.array(weights, float))
    n = 200_000  # more than three blocks of draws
    counts = np.bincount(order.rows(np.arange(n)), minlength=len(weights))
    expected = n * np.array(weights) / sum(weights)
    assert (counts[np.array(weights) == 0] == 0).all()
    assert (np.abs(counts - expected) <= 5 * np.sqrt(expected)).all()


def test_balanced_draws_are_independent_of_each_other():
    rows = order_of("balanced", weights=np.array([1.0, 1.0])).rows(np.arange(100_000))
    repeats = np.count_nonzero(rows[1:] == rows[:-1])
    assert abs(repeats - 50_000) < 5 * np.sqrt(25_000)


def test_balanced_epoch_draws_without_replacement_in_proportion_to_the_weights():
    weights = np.array([0.0, 1.0, 2.0, 5.0])
    order = order_of("balanced_epoch", weights=weights, epoch_clips=2)
    epochs = order.rows(np.arange(20_000)).reshape(-1, 2)
    assert (epochs[:, 0] != epochs[:, 1]).all()
    n = len(epochs)
    first = np.bincount(epochs[:, 0], minlength=4) / n
    np.testing.assert_allclose(first, weights / 8, atol=5 * 0.5 / np.sqrt(n))
    # P(second = 3) = sum over the first i of w_i/8 * 5/(8 - w_i)
    expected = 1 / 8 * 5 / 7 + 2 / 8 * 5 / 6
    second = np.mean(epochs[:, 1] == 3)
    np.testing.assert_allclose(second, expected, atol=5 * 0.5 / np.sqrt(n))


def test_epochs_of_two_million_clips_are_cheap():
    weights = np.random.default_rng(0).pareto(1.0, 2_000_000)
    start = time.perf_counter()
    for kind in ORDERS:
        order = ExampleOrder(kind, 0, len(weights), weights)
        rows = order.rows(np.arange(10**12, 10**12 + 256))
        assert (rows >= 0).all() and (rows < len(weights)).all()
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "random"}, "uniform, balanced, balanced_epoch"),
        ({"sampling": "uniform", "n_clips": 0}, "empty"),
        ({"sampling": "uniform", "seed": -1}, "seed -1"),
        ({"sampling": "balanced"}, "a weight for each of the 4"),
        ({"sampling": "balanced", "weights": np.zeros(4)}, "weights are 0"),
        ({"sampling": "balanced", "weights": np.full(4, np.inf)}, "finite"),
        (
            {
                "sampling": "balanced_epoch",
                "weights": np.array([0, 1.0, 1, 1]),
                "epoch_clips": 4,
            },
            "expected 1 to 3",
        ),
    ],
)
def test_impossible_orders_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ExampleOrder(**{"seed": 0, "n_clips": 4} | options)
