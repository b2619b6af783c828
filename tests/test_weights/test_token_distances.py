import numpy as np
import pytest

from jaxsed.models import sed
from jaxsed.models.relative_bias import bucket_indices
from jaxsed.weights.resolution import Change
from jaxsed.weights.token_distances import (
    gathered_taps,
    relative_bias,
    split,
    spread_taps,
    stretched,
)

ROWS = 8


def test_a_distance_is_one_of_steps_and_rows():
    distances = np.arange(-20, 21)
    steps, across = split(distances, ROWS)
    np.testing.assert_array_equal(steps * ROWS + across, distances)
    assert across.min() == -4 and across.max() == 3
    assert split(np.array([8, -8, 7, -1]), ROWS)[0].tolist() == [1, -1, 1, 0]


def test_rows_stay_where_steps_are_stretched():
    distances, weights = stretched(np.array([16, 17, 12, -24]), ROWS, 0.25)
    # 2 steps are half a step, in the same row or the next; -3 are 3/4 of one.
    assert distances[:, 0].tolist() == [0, 8]
    assert distances[:, 1].tolist() == [1, 9]
    assert distances[:, 2].tolist() == [-4, 4]  # 2 steps, and 4 rows back
    assert weights[:, 3].tolist() == [0.75, 0.25]
    longer, weights = stretched(np.array([8, 9, -3]), ROWS, 4)
    assert longer[0].tolist() == [32, 33, -3] and (weights[0] == 1).all()


@pytest.mark.parametrize(
    ("many", "few", "ratio"), [(128, 32, 4), (128, 64, 2), (32, 8, 4), (128, 80, 1.5)]
)
def test_every_row_keeps_the_sum_of_its_taps(many, few, ratio):
    kernel = np.random.default_rng(0).normal(size=many)

    def row_sums(taps):
        offset = np.arange(len(taps)) - len(taps) // 2
        return [taps[offset % ROWS == row].sum() for row in range(ROWS)]

    gathered = gathered_taps(many, few, ROWS, ratio) @ kernel
    np.testing.assert_allclose(row_sums(gathered), row_sums(kernel), atol=1e-12)
    spread = spread_taps(few, many, ROWS, ratio) @ gathered
    np.testing.assert_allclose(row_sums(spread), row_sums(kernel), atol=1e-12)


def test_taps_stay_where_they_are_in_time():
    centres = np.arange(128) - 64
    gathered = gathered_taps(128, 32, ROWS, 4)
    # A tap two steps ahead, in the same row, is half a step ahead where steps are
    # four times as long: shared by this one and the next.
    tap = np.flatnonzero(centres == 16)[0]
    found = np.flatnonzero(gathered[:, tap])
    assert (found - 16).tolist() == [0, 8]
    assert gathered[found, tap].tolist() == [0.5, 0.5]
    spread = spread_taps(32, 128, ROWS, 4)
    # This step's own tap is shared by seven, most of it in the middle.
    shared = spread[:, 16]
    assert (centres[shared > 0]).tolist() == [-24, -16, -8, 0, 8, 16, 24]
    np.testing.assert_allclose(shared[shared > 0] * 16, [1, 2, 3, 4, 3, 2, 1])


def test_relative_biases_belong_to_a_time():
    models = [
        sed.build("tiny_beats", 1, compression=text) for text in ("fshift-4", "none")
    ]
    encoder = models[0].encoder
    # A bias that falls with the time between two tokens, by 0.1 a step of 640 ms, and
    # is another one in neighbouring rows.
    size = encoder.config.n_buckets, encoder.config.max_distance
    distances = np.arange(-size[1], size[1] + 1)

    def bias(steps_each):
        across = (distances + 4) % 8 - 4
        steps = (distances - across) // 8
        return -0.1 * np.abs(steps) * steps_each + 0.05 * (across == 1)

    table = np.zeros((size[0], 3))
    buckets = bucket_indices(distances, *size)
    for bucket in np.unique(buckets):
        table[bucket] = bias(1)[buckets == bucket].mean()
    change = Change(*(model.encoder for model in models), "pi")
    adapted = relative_bias(table, change)
    # As far as each distance has its own bucket: 80 tokens.
    near = np.abs(distances) < 80
    found = adapted[buckets[near], 0]
    expected = bias(0.25)[near]
    np.testing.assert_allclose(found, expected, atol=1e-12)
