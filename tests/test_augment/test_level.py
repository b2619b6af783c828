import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.augment import level

KEY = jax.random.key(17)


def run(function, batch, **settings):
    return jax.jit(functools.partial(function, **settings))(KEY, batch)


def test_gains_are_uniform_in_decibels():
    batch = {"audio": jnp.full((1000, 8), 0.01)}
    louder = run(level.random_gain, batch, probability=0.5, range_db=12.0)["audio"]
    gains = 20 * np.log10(np.asarray(louder) / 0.01)
    np.testing.assert_allclose(
        gains, np.broadcast_to(gains[:, :1], gains.shape), atol=1e-4
    )
    gains = gains[:, 0]
    untouched = np.asarray(louder == batch["audio"]).all(axis=1)
    assert 0.4 < untouched.mean() < 0.6
    drawn = gains[~untouched]
    assert -12 <= drawn.min() < -10 and 10 < drawn.max() <= 12
    assert abs(drawn.mean()) < 1.5 and abs(drawn.std() - 24 / np.sqrt(12)) < 0.5


def test_noise_is_asts():
    """`torch.rand(...) * np.random.rand() / 10`: from 0, of a strength a clip."""
    batch = {"mel": jnp.zeros((500, 40, 8))}
    noise = np.asarray(run(level.random_noise, batch, probability=1.0)["mel"])
    assert noise.min() >= 0 and 0.09 < noise.max() < 0.1
    strength = noise.max(axis=(1, 2))  # nearly: 320 draws
    assert abs(strength.mean() - 0.05) < 0.006
    assert abs(strength.std() - 0.1 / np.sqrt(12)) < 0.004
    np.testing.assert_allclose(noise.mean(axis=(1, 2)), strength / 2, rtol=0.2)
    assert (noise[0] != noise[1]).all()


def test_noise_falls_where_the_coin_says_so():
    batch = {"mel": jnp.zeros((500, 4, 8))}
    noise = np.asarray(run(level.random_noise, batch, probability=0.3)["mel"])
    assert 0.2 < noise.any(axis=(1, 2)).mean() < 0.4
