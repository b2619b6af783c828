"""The token-semantic head of HTS-AT (Chen et al., 2022, section 2.2): a map of classes.

A convolution over time gives every class a number for each of the encoder's time steps,
and a clip has the mean of those. Follows `tscam_conv` of the original's `model/htsat.py`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.initializers import fan_in_uniform

TAPS = 3  # time steps that a class is told from


class TokenSemanticHead(nn.Module):
    """Convolution over time to class logits, in float32 or better.

    Attributes:
        n_classes: Number of classes.
    """

    n_classes: int

    @nn.compact
    def __call__(self, steps: jax.Array) -> jax.Array:
        """Maps time steps `[b, s, d]` to logits `[b, s, c]`; zeros beyond either end."""
        n_steps, features = steps.shape[1:]
        init = fan_in_uniform(TAPS * features)
        taps = self.param("taps", init, (TAPS, features, self.n_classes))
        bias = self.param("bias", init, (self.n_classes,))
        dtype = jnp.promote_types(steps.dtype, jnp.float32)
        edge = (TAPS // 2, TAPS // 2)
        padded = jnp.pad(steps, ((0, 0), edge, (0, 0)))
        # Beside each other, the taps make one long product of many short ones.
        seen = [padded[:, tap : tap + n_steps] for tap in range(TAPS)]
        logits = jnp.matmul(
            jnp.concatenate(seen, axis=-1),
            taps.reshape(-1, self.n_classes).astype(steps.dtype),
            preferred_element_type=dtype,
        )
        return logits + bias.astype(dtype)
