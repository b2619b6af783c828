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


def coins(
    key: jax.Array, n_examples: int, probability: float, per_batch: bool = False
) -> jax.Array:
    """Returns bool `[b]`, true with `probability`."""
    keys = example_keys(key, n_examples, per_batch)
    return jax.vmap(lambda k: jax.random.bernoulli(k, probability))(keys)


def major_weights(key: jax.Array, n_examples: int, alpha: float) -> jax.Array:
    """Returns float32 `[b]` in [0.5, 1]: the larger part of a draw from Beta(a, a).

    Folding the draw at 0.5 keeps an example the louder part of its own mixture, so that
    ids and sampling weights still describe it (PretrainedSED `helpers/augment.py`).
    """
    keys = example_keys(key, n_examples)
    weight = jax.vmap(lambda k: jax.random.beta(k, alpha, alpha, dtype=jnp.float32))(
        keys
    )
    return jnp.maximum(weight, 1.0 - weight)


def uniform_integers(keys: jax.Array, upper: jax.Array | int) -> jax.Array:
    """Returns int32 `[b]`, uniform in [0, upper); `upper` may be traced, `[b]`."""
    upper = jnp.broadcast_to(jnp.asarray(upper, jnp.int32), keys.shape[:1])
    return jax.vmap(lambda k, n: jax.random.randint(k, (), 0, n))(keys, upper)
