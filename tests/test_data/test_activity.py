import numpy as np
import pytest

from jaxsed.data import activity
from jaxsed.data.activity import ClassActivity


def random_events(n_clips=50, n_classes=4, seed=0):
    """Columns of events, some clips without any, and the table that they sum up to."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, n_clips)
    n = counts.sum()
    labels = rng.integers(0, n_classes, n).astype(np.int32)
    onsets = rng.random(n)
    offsets = onsets + rng.random(n) * (rng.random(n) < 0.9)  # some of no length
    table = np.zeros((n_clips, n_classes))
    np.add.at(table, (np.repeat(np.arange(n_clips), counts), labels), offsets - onsets)
    return (np.append(0, np.cumsum(counts)), labels, onsets, offsets), table


@pytest.fixture(params=[1, 7, 65_536])
def at_once(request, monkeypatch):
    monkeypatch.setattr(activity, "_CLIPS_AT_ONCE", request.param)


@pytest.mark.usefixtures("at_once")
def test_sums_are_those_of_a_table():
    events, table = random_events()
    found = ClassActivity(*events, n_classes=4)
    assert (found.n_clips, found.n_classes) == table.shape
    rows = np.zeros_like(table)
    for clips, labels, seconds in found.blocks():
        assert not rows[clips, labels].any()
        rows[clips, labels] = seconds
    np.testing.assert_allclose(rows, table, rtol=1e-14)
    np.testing.assert_allclose(found.class_seconds(), table.sum(0), rtol=1e-13)
    np.testing.assert_array_equal(found.class_clips(), (table > 0).sum(0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("n_clips", [0, 3])
def test_without_events_nothing_is_active(n_clips):
    none = np.zeros(0)
    found = ClassActivity(
        np.zeros(n_clips + 1, int), none.astype(np.int32), none, none, 2
    )
    assert found.class_seconds().tolist() == [0.0, 0.0]
    assert found.class_clips().tolist() == [0, 0]
