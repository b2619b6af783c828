import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxsed.augment import draws

KEY = jax.random.key(3)


def test_example_key_is_the_key_folded_with_the_position():
    keys = draws.example_keys(KEY, 5)
    for position in range(5):
        expected = jax.random.key_data(jax.random.fold_in(KEY, position))
        assert np.array_equal(jax.random.key_data(keys[position]), expected)


def test_example_keys_do_not_depend_on_the_batch_size():
    small = jax.random.key_data(draws.example_keys(KEY, 3))
    large = jax.random.key_data(draws.example_keys(KEY, 9))
    assert np.array_equal(small, large[:3])


def test_per_batch_gives_everyone_the_same_key():
    data = np.asarray(jax.random.key_data(draws.example_keys(KEY, 4, per_batch=True)))
    assert (data == data[0]).all()


def test_coins_have_their_probability():
    heads = np.asarray(draws.coins(KEY, 4000, 0.3))
    assert abs(heads.mean() - 0.3) < 0.03
    assert not draws.coins(KEY, 100, 0.0).any()
    assert draws.coins(KEY, 100, 1.0).all()


def test_coins_per_batch_agree_and_still_vary_between_keys():
    outcomes = set()
    for key in jax.random.split(KEY, 20):
        heads = np.asarray(draws.coins(key, 8, 0.5, per_batch=True))
        assert len(set(heads.tolist())) == 1
        outcomes.add(bool(heads[0]))
    assert outcomes == {True, False}


def weights(alpha, n_examples=4000):
    return draws.major_weights(draws.uniforms(KEY, n_examples, 2), alpha)


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 2.0])
def test_major_weights_are_a_beta_distribution_folded_at_one_half(alpha):
    drawn = np.asarray(weights(alpha), np.float64)
    assert drawn.min() >= 0.5 and drawn.max() <= 1.0

    # Below 0.9999: for small alpha a good part of the mass is so close to 1 that
    # float32 cannot tell, in the original neither.
    points = np.append(np.linspace(0.51, 0.99, 25), [0.999, 0.9999])
    empirical = (drawn[:, None] <= points).mean(axis=0)
    expected = 2 * stats.beta.cdf(points, alpha, alpha) - 1
    # 1.63 / sqrt(n) is the 1 % bound of Kolmogorov and Smirnov.
    assert np.abs(empirical - expected).max() < 1.63 / np.sqrt(drawn.size)


@pytest.mark.parametrize("alpha", [0.5, 10.0])
def test_beta_weights_are_a_beta_distribution(alpha):
    uniform = draws.uniforms(KEY, 4000, 2)
    drawn = np.asarray(draws.beta_weights(uniform, alpha), np.float64)
    points = np.linspace(0.01, 0.99, 50)
    empirical = (drawn[:, None] <= points).mean(axis=0)
    expected = stats.beta.cdf(points, alpha, alpha)
    assert np.abs(empirical - expected).max() < 1.63 / np.sqrt(drawn.size)
    major = draws.major_weights(uniform, alpha)
    np.testing.assert_allclose(np.maximum(drawn, 1 - drawn), major, atol=1e-6)


def test_major_weights_are_finite_for_every_draw():
    corners = jnp.array([0.0, 0.25, 0.5, 0.75, 1 - 2**-24])
    uniform = jnp.stack(jnp.meshgrid(corners, corners), axis=-1).reshape(-1, 2)
    for alpha in (1e-3, 0.2, 2.0, 1e3):
        drawn = np.asarray(draws.major_weights(uniform, alpha))
        assert drawn.dtype == np.float32
        assert ((drawn >= 0.5) & (drawn <= 1.0)).all()


def test_integers_reach_every_value_below_a_traced_bound():
    uniform = draws.uniforms(KEY, 600, 1)[:, 0]
    upper = jnp.tile(jnp.array([1, 2, 5]), 200)
    drawn = np.asarray(jax.jit(draws.integers)(uniform, upper))
    for bound in (1, 2, 5):
        assert set(drawn[np.asarray(upper) == bound]) == set(range(bound))
    assert draws.integers(jnp.float32(1 - 2**-24), 1001) == 1000
