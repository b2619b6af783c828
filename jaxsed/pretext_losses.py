"""Losses of masked spectrogram patch modelling (SSAST, Gong et al., AAAI 2022)."""

import jax
import jax.numpy as jnp

from jaxsed.errors import check_known

OVER = ("predictions", "patches")


def info_nce(
    predicted: jax.Array, true: jax.Array, over: str = "predictions"
) -> tuple[jax.Array, jax.Array]:
    """Says of each clip how well predictions tell its hidden patches apart.

    The other hidden patches of the same clip are the negatives. The accuracy is as the
    original counts it, after the soft-max over predictions and whatever `over` is: the
    part of the predictions that fit their own patch better than any other one.

    Args:
        predicted: `[b, k, v]`.
        true: `[b, k, v]`, values of the patches.
        over: what the soft-max is over. "predictions": for each patch, as in the released
            code. "patches": for each prediction, equation (1) of the paper.

    Returns:
        Loss and accuracy, float32 (or better) `[b]`.

    Raises:
        InputError: unknown `over`.
    """
    check_known("pretext.nce_over", over, OVER)
    predicted, true = _at_least_float32(predicted), _at_least_float32(true)
    similarity = jnp.einsum(
        "bkv,bjv->bkj", true, predicted, precision=jax.lax.Precision.HIGHEST
    )
    of_patches = jax.nn.log_softmax(similarity, axis=-1)
    # The original compares probabilities, where those that underflow to 0 tie.
    best = jnp.argmax(of_patches, axis=1)
    accuracy = jnp.mean(best == jnp.arange(best.shape[1]), axis=1, dtype=true.dtype)
    log_probability = of_patches
    if over == "patches":
        log_probability = jax.nn.log_softmax(similarity, axis=1)
    own = jnp.diagonal(log_probability, axis1=1, axis2=2)
    return -jnp.mean(own, axis=1), accuracy


def patch_mse(predicted: jax.Array, true: jax.Array) -> jax.Array:
    """Returns the mean squared error of each clip's hidden patches, `[b]`.

    Args:
        predicted: `[b, k, v]`.
        true: `[b, k, v]`.
    """
    error = _at_least_float32(predicted) - _at_least_float32(true)
    return jnp.mean(jnp.square(error), axis=(1, 2))


def _at_least_float32(array: jax.Array) -> jax.Array:
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))
