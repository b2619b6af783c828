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
RECIPE = Path(__file__).parents[1] / "golden" / "recipe.npz"
ORDERS = ("uniform", "balanced", "balanced_epoch", "class_queue")


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
    # Class 0 is in clips 1 and 3, class 1 in no clip, class 2 in clip 2.
    options = {
        "clips_by_class": (np.array([0, 2, 2, 3]), np.array([1, 3, 2]))
    } | options
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


def test_clip_counts_are_asts_weights():
    with np.load(RECIPE) as golden:
        labelled = activity_of(10.0 * golden["metrics/target"])
        expected = golden["sampling/ast_weight"]
    weights = importance_weights(labelled, "clip_counts")
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
    softened = importance_weights(labelled, "clip_counts", offset_clips=100.0)
    assert softened.max() < weights.max()
    with pytest.raises(InputError, match="importance_offset_clips=0"):
        importance_weights(labelled, "clip_counts", offset_clips=0)


def test_class_queue_gives_a_clip_of_each_class_in_changing_order():
    labelled = activity_of([[1, 0, 0], [1, 0, 0], [0, 0, 2], [1, 0, 1], [0, 0, 0]])
    order = ExampleOrder("class_queue", 0, 5, clips_by_class=labelled.clips_by_class())
    pairs = order.rows(np.arange(6000)).reshape(-1, 2)
    of_first = np.isin(pairs, (0, 1))  # without the clip that has both classes
    assert (of_first.sum(axis=1) <= 1).all()
    counts = np.bincount(pairs.ravel(), minlength=5)
    assert (np.abs(counts[:2] - 1000) < 150).all() and counts[4] == 0
    assert abs(counts[2] - 1500) < 150 and abs(counts[3] - 2500) < 200
    assert 0.4 < of_first[:, 0].sum() / of_first.sum() < 0.6


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
        (np.ones((3, 2)), "inverse", "paper, released, clip_counts"),
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
        classes = np.arange(0, 2_000_001, 4000), np.arange(2_000_000)
        order = ExampleOrder(kind, 0, len(weights), weights, clips_by_class=classes)
        rows = order.rows(np.arange(10**12, 10**12 + 256))
        assert (rows >= 0).all() and (rows < len(weights)).all()
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "random"}, "uniform, balanced, balanced_epoch"),
        ({"sampling": "class_queue"}, "which clips have what"),
        (
            {"sampling": "class_queue", "clips_by_class": (np.zeros(3, int), [])},
            "no clip has a class",
        ),
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
