"""Batch normalisation without a train flag: running statistics are parameters."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class BatchNorm(nn.Module):
    """Normalises every feature by its mean and variance over all other axes.

    The statistics are the running ones, leaves `mean` and `var` of `params`, unless
    the caller makes the collection `updates` mutable. Then they are those of the batch,
    and new running values are put into `updates` under the paths of the old ones, for
    the training step to write them into `params`. As in PyTorch, the biased variance
    normalises and the unbiased one is recorded.

    A layer can be held back from that: it goes on using its running statistics, as a
    layer does that is not trained, where the caller's collection `frozen` (a tree of
    Python bools like `params`) is true for either of them.

    Attributes:
        epsilon: Added to the variance; the default is PyTorch's.
        momentum: Weight of a batch in the running statistics; likewise.
        dtype: Type of the output; statistics are float32 or better.
    """

    epsilon: float = 1e-5
    momentum: float = 0.1
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, inside: jax.Array | None = None) -> jax.Array:
        """Normalises the last axis of `x [..., d]`.

        Args:
            x: Features.
            inside: bool, broadcastable to `[..., 1]`: what counts for the statistics
                of a batch; None for all.

        Returns:
            `[..., d]`.
        """
        accumulate = jnp.promote_types(self.dtype, jnp.float32)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        scale, bias, mean, var = (
            jnp.asarray(self.param(name, init, x.shape[-1:]), accumulate)
            for name, init in (
                ("scale", ones),
                ("bias", zeros),
                ("mean", zeros),
                ("var", ones),
            )
        )
        x = x.astype(accumulate)
        mean, var = jax.lax.stop_gradient((mean, var))
        if self._follows_the_batch():
            mean, var = self._batch_statistics(x, inside, mean, var)
        normed = (x - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias
        return normed.astype(self.dtype)

    def _follows_the_batch(self) -> bool:
        if self.is_initializing() or not self.is_mutable_collection("updates"):
            return False
        return not any(
            self.get_variable("frozen", name, False) for name in ("mean", "var")
        )

    def _batch_statistics(self, x, inside, running_mean, running_var):
        axes = tuple(range(x.ndim - 1))
        mean = jnp.mean(x, axes, where=inside)
        var = jnp.mean(jnp.square(x - mean), axes, where=inside)
        count = x.size // x.shape[-1]
        if inside is not None:
            count = jnp.sum(jnp.broadcast_to(inside, (*x.shape[:-1], 1)))
        unbiased = var * (count / jnp.maximum(count - 1, 1))
        for name, running, batch in (
            ("mean", running_mean, mean),
            ("var", running_var, unbiased),
        ):
            new = running + self.momentum * (batch - running)
            self.put_variable("updates", name, jax.lax.stop_gradient(new))
        return mean, var
