"""Augmentation of level: gain of waveforms, noise over spectrograms. Targets stay."""

import jax
import jax.numpy as jnp

from jaxsed.augment import draws

Batch = dict[str, jax.Array]


def random_gain(
    key: jax.Array, batch: Batch, *, probability: float, range_db: float = 12.0
) -> Batch:
    """Makes `batch["audio"]` louder or softer.

    EfficientAT `datasets/audioset.py` (`pydub_augment`), which draws whole decibels.

    Args:
        key: of this augmentation in this step.
        batch: `audio [b, n]`.
        probability: of an example being changed.
        range_db: the gain is uniform within plus or minus this.
    """
    audio = batch["audio"]
    coin, place = draws.uniforms(key, audio.shape[0], 2).T
    gain_db = jnp.where(coin < probability, (2.0 * place - 1.0) * range_db, 0.0)
    return {**batch, "audio": audio * jnp.power(10.0, gain_db / 20.0)[:, None]}


def random_noise(
    key: jax.Array, batch: Batch, *, probability: float, level: float = 0.1
) -> Batch:
    """Adds noise to `batch["mel"]`, of another strength in each example.

    AST `src/dataloader.py`, for Speech Commands: uniform noise between 0 and a number
    that is itself uniform between 0 and 0.1, on the normalised log-mel.

    Args:
        key: of this augmentation in this step.
        batch: `mel [b, t, f]`.
        probability: of an example being changed.
        level: bound of the strength, in the units of the normalised log-mel.
    """
    mel = batch["mel"]
    coin_key, noise_key = jax.random.split(key)
    coin, strength = draws.uniforms(coin_key, mel.shape[0], 2).T
    strength = jnp.where(coin < probability, strength * level, 0.0)
    keys = draws.example_keys(noise_key, mel.shape[0])
    noise = jax.vmap(lambda k: jax.random.uniform(k, mel.shape[1:]))(keys)
    return {**batch, "mel": mel + noise * strength[:, None, None]}
