import functools
import random

import jax
import numpy as np
import pytest

from jaxsed.augment import patch_masks
from jaxsed.errors import InputError
from tests import goldens

GRID, DRAWN = (8, 64), 1500


def turns(rng, n_patches):
    """Beginnings of squares as the original draws them: the turn of each patch."""
    order = np.full(n_patches, patch_masks.NEVER, np.int32)
    for turn in range(50 * n_patches):
        start = rng.randrange(n_patches)
        order[start] = min(order[start], turn)
    return order


def original(rng, count, grid=GRID):
    """The hidden patches of one clip as the original's generator gives them."""
    n_patches, hidden = grid[0] * grid[1], set()
    side = rng.randrange(3) + 3
    while len(hidden) <= count:
        start = rng.randrange(n_patches)
        square = [start + grid[1] * i + j for i in range(side) for j in range(side)]
        hidden.update(patch for patch in square if 0 < patch < n_patches)
    return sorted(hidden)[:count]


def frequencies(hidden, n_patches):
    return np.bincount(np.asarray(hidden).ravel(), minlength=n_patches) / len(hidden)


def keys(n):
    return jax.random.split(jax.random.key(0), n)


@functools.cache
def drawn(kind, grid=GRID, n=DRAWN):
    draw = functools.partial(patch_masks.draw, grid=grid, kind=kind)
    return np.asarray(jax.jit(draw)(keys(n)))


def part_of_neighbours(hidden, distance):
    """Of hidden patches, how many have a neighbour at that distance hidden, too."""
    is_hidden = np.zeros((len(hidden), 512 + distance), bool)
    np.put_along_axis(is_hidden, hidden, True, axis=1)
    return is_hidden[:, :512][:, distance:][is_hidden[:, : 512 - distance]].mean()


@pytest.mark.parametrize(
    "name, seed, count",
    [*((f"patch_seed{s}", s, 400) for s in range(3))]
    + [(f"patch100_seed{s}", s, 100) for s in range(2)],
)
def test_the_original_generator_on_its_own_random_numbers(name, seed, count):
    golden = goldens.load("ssast_pretrain")[f"maskgen/{name}"]
    assert original(random.Random(seed), count) == golden.tolist()
    rng = random.Random(seed)
    side = rng.randrange(3) + 3
    masked = jax.jit(patch_masks.released_clusters, static_argnames=("grid", "count"))
    hidden = masked(turns(rng, 512), side, grid=GRID, count=count)
    assert np.flatnonzero(hidden).tolist() == golden.tolist()


def assert_as_often(found, expected, n):
    """Frequencies of two sets of n draws each, within five standard deviations."""
    mean = (found + expected) / 2
    deviation = np.sqrt(2 * mean * (1 - mean) / n) + 1e-9
    assert np.max(np.abs(found - expected) / deviation) < 5


def test_released_masks_are_distributed_as_the_originals():
    rng = random.Random(0)
    theirs = np.array([original(rng, 400) for _ in range(DRAWN)])
    ours = drawn("released")
    assert ours.shape == theirs.shape and ours.dtype == np.int32
    assert (np.diff(ours) > 0).all()
    assert_as_often(frequencies(ours, 512), frequencies(theirs, 512), DRAWN)
    # And not only one by one: how many of the patches to the right are hidden, too.
    for distance in (1, 2, 64, 129):
        pairs = [part_of_neighbours(masks, distance) for masks in (ours, theirs)]
        assert abs(pairs[0] - pairs[1]) < 3e-3


def test_what_the_released_masks_are_biased_to():
    often = frequencies(drawn("released"), 512)
    rows = often.reshape(GRID).mean(axis=1)
    assert often[0] == 0
    assert rows[0] < 0.65 < 0.78 < rows[3]  # few squares reach the lowest row
    assert often[-8:].mean() < rows[6] - 0.2  # the cut lets the last patches off


@pytest.mark.parametrize("kind", ["clusters", "single"])
def test_other_masks_hide_every_patch_equally_often(kind):
    hidden = drawn(kind)
    assert hidden.shape == (DRAWN, 400) and (np.diff(hidden) > 0).all()
    part = 400 / 512
    deviation = np.sqrt(part * (1 - part) / DRAWN)
    assert np.max(np.abs(frequencies(hidden, 512) - part)) < 5 * deviation


def test_clusters_hide_neighbours_together():
    for distance in (1, 64):
        alone = part_of_neighbours(drawn("single"), distance)
        together = part_of_neighbours(drawn("clusters"), distance)
        assert alone < 0.79 < 0.83 < together


def test_a_mask_belongs_to_its_clip():
    hidden = drawn("released")
    assert len(np.unique(hidden[:50], axis=0)) == 50
    again = jax.jit(lambda keys: patch_masks.draw(keys, GRID))(keys(DRAWN)[2:4])
    np.testing.assert_array_equal(again, hidden[2:4])


def test_as_many_parts_are_hidden_of_a_coarser_grid():
    hidden = drawn("released", (8, 16), n=50)
    assert hidden.shape == (50, 100)
    assert hidden.min() > 0 and hidden.max() < 128
    assert patch_masks.count_hidden(256, patch_masks.PART) == 200


@pytest.mark.parametrize(
    "options, message",
    [
        ({"kind": "cluster"}, "did you mean 'clusters'"),
        ({"part": 1.0}, "at most 510"),
        ({"part": 0.0}, "at least 1"),
        ({"sides": ()}, "sides of squares"),
        ({"sides": (0, 3)}, "sides of squares"),
    ],
)
def test_impossible_masks_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        patch_masks.draw(keys(1), GRID, **options)
