"""Random draws that belong to an example, not to a batch or a device.

Example i of the global batch draws from `fold_in(key, i)`. What it draws therefore does
not depend on how large the batch is or on which device holds the example, and a resumed
run repeats it. Inside `jax.jit` over a sharded batch the positions are those in the
global batch, because `jax.numpy` sees the global array.

Nearly every function here has `per_batch`: the released training script tosses one coin
a batch for mixup, MixStyle, filter augmentation and frequency warping, which makes all
of a batch augmented or none of it (PretrainedSED `ex_audioset_strong.py`). The paper
does not say; the default is one coin an example.
"""

import jax
import jax.numpy as jnp


def example_keys(key: jax.Array, n_examples: int, per_batch: bool = False) -> jax.Array:
    """Returns one random key an example, `[b]`.

    Args:
        key: the key of one augmentation in one step.
        n_examples: size of the global batch.
        per_batch: give every example the key of example 0, so that all draw alike.
    """
    positions = jnp.arange(n_examples)
    if per_batch:
        positions = jnp.zeros_like(positions)
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, positions)


def uniforms(
    key: jax.Array, n_examples: int, count: int, per_batch: bool = False
) -> jax.Array:
    """Returns float32 `[b, count]`, uniform in [0, 1).

    All that an augmentation needs is computed from these: one call to the generator
    compiles and runs faster than one for each distribution.
    """
    keys = example_keys(key, n_examples, per_batch)
    return jax.vmap(lambda k: jax.random.uniform(k, (count,)))(keys)


def coins(
    key: jax.Array, n_examples: int, probability: float, per_batch: bool = False
) -> jax.Array:
    """Returns bool `[b]`, true with `probability`."""
    return uniforms(key, n_examples, 1, per_batch)[:, 0] < probability


def integers(uniform: jax.Array, upper: jax.Array | int) -> jax.Array:
    """Returns int32 in [0, upper) for draws in [0, 1); `upper` may be traced."""
    return jnp.minimum((uniform * upper).astype(jnp.int32), upper - 1)


def major_weights(uniform: jax.Array, alpha: float) -> jax.Array:
    """Returns float32 `[b]` in [0.5, 1]: the larger part of a draw from Beta(a, a).

    Folding the draw at 0.5 keeps an example the louder part of its own mixture, so that
    ids and sampling weights still describe it (PretrainedSED `helpers/augment.py`).

    Args:
        uniform: `[b, 2]` in [0, 1).
        alpha: a.
    """
    return 0.5 + _from_one_half(uniform, alpha)


def beta_weights(uniform: jax.Array, alpha: float) -> jax.Array:
    """Returns float32 `[b]` in [0, 1], draws from Beta(a, a); see `major_weights`."""
    side = jnp.sign(jnp.cos(2 * jnp.pi * uniform[:, 1]))
    return 0.5 + side * _from_one_half(uniform, alpha)


def _from_one_half(uniform: jax.Array, alpha: float) -> jax.Array:
    """Returns how far a draw from Beta(a, a) is from 0.5.

    A symmetric beta is a squashed t-variate, which has a polar form (Devroye, "Random
    variate generation in one line of code", 1996): exact for every a > 0. Rejection, as
    in `jax.random.beta`, loops until the last example of the batch is accepted, and
    all devices wait for each other in every round.
    """
    radius = jnp.expm1(-jnp.log1p(-uniform[:, 0]) / alpha)
    squared = radius * jnp.square(jnp.cos(2 * jnp.pi * uniform[:, 1]))
    return 0.5 / jnp.sqrt(1.0 + 1.0 / squared)
