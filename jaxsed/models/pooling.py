"""Attention pooling: clip logits from frame logits, each class with weights of its own.

As with `head_type="attention"` in PretrainedSED's `models/prediction_wrapper.py`, which
is used where clips have weak and strong labels (DESED).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.tokens import before

MIN_WEIGHT = 1e-7  # of a class in a frame


def attention_pool(
    logits: jax.Array, weight_logits: jax.Array, n_frames: jax.Array | None = None
) -> jax.Array:
    """Pools a clip's frames to `sum_t(w p) / sum_t(w)`, as logits.

    p is the probability of a class in a frame; w is the softmax of `weight_logits` over
    *classes*, at least `MIN_WEIGHT`. The logit of the pooled probability is taken
    without the probability itself, so that it is finite and has a gradient where the
    probability rounds to 0 or 1.

    Args:
        logits: `[b, t, c]`, of the strong head.
        weight_logits: `[b, t, c]`, of the weak head on the same frames.
        n_frames: int `[b]`, how many frames are the clip's, at least 1; None for all.

    Returns:
        Clip logits `[b, c]`.
    """
    weights = jax.nn.log_softmax(weight_logits, axis=-1)
    weights = jnp.maximum(weights, np.log(MIN_WEIGHT).astype(weights.dtype))
    inside = None
    if n_frames is not None:
        inside = before(n_frames, logits.shape[1])[..., None]

    def total(terms):
        return jax.nn.logsumexp(terms, axis=1, where=inside)

    # log p / (1 - p): both sums have the same denominator.
    present = total(weights + jax.nn.log_sigmoid(logits))
    return present - total(weights + jax.nn.log_sigmoid(-logits))
