import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import dropout


def drawn(key, shape, rate):
    seeds = dropout.seeds(jax.random.key(key))
    return np.asarray(
        dropout.keep(dropout.positions(shape), (seeds[0], seeds[1]), rate)
    )


def test_positions_count_in_the_order_of_axes():
    expected = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(dropout.positions((2, 3, 4)), expected)
    assert dropout.positions(()) == 0


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.1, 0.5])
def test_values_are_dropped_at_the_rate_and_independently(rate):
    kept = drawn(0, (512, 512), rate)
    deviation = (rate * (1 - rate) / kept.size) ** 0.5
    assert np.mean(~kept) == pytest.approx(rate, abs=4 * deviation + 1e-9)
    centred = kept - kept.mean()
    # A value knows nothing of its neighbours, nor of its place under other seeds.
    others = [np.roll(centred, shift, axis) for axis in (0, 1) for shift in (1, 2, 8)]
    others += [drawn(key, kept.shape, rate) - (1 - rate) for key in (1, 2)]
    for other in others:
        covariance = abs(np.mean(centred * other))
        assert covariance <= 4 * rate * (1 - rate) / kept.size**0.5 + 1e-12
    for axis in (0, 1):  # no rows or columns that keep more than others
        spread = kept.mean(axis).std()
        assert spread <= 1.15 * (rate * (1 - rate) / 512) ** 0.5 + 1e-9


def test_draws_are_a_function_of_the_seeds():
    one, again, other = (drawn(key, (64, 64), 0.5) for key in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert 0.4 < np.mean(one != other) < 0.6


def test_it_is_murmurs_finaliser():
    position = np.arange(1000, dtype=np.uint32)
    seeds = np.array([7, 2**31 + 5], np.uint32)
    with np.errstate(over="ignore"):
        x = position + seeds[0]
        x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
        x = (x ^ (x >> 13) ^ seeds[1]) * np.uint32(0xC2B2AE35)
        x = (x ^ (x >> 16)) >> 8
    pair = tuple(jnp.asarray(seeds.view(np.int32)))
    kept = dropout.keep(jnp.asarray(position.view(np.int32)), pair, 0.3)
    np.testing.assert_array_equal(kept, x >= round(0.3 * 2**24))
