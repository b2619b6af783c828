"""Mamba-2 layers on label frames: a selective state space with one decay per head.

Dao and Gu 2024 (Transformers are SSMs), section 6 and Listing 1, with the sizes of
EfficientSED's `models/prediction_wrapper.py` and the parameters of `Mamba2` in
state-spaces/mamba. It is causal: no frame depends on later ones.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.blocks import drop, layer_norm
from jaxsed.models.dense import Dense
from jaxsed.models.initializers import fan_in_uniform

EXPANSION = 2  # inner features per feature in and out
STATE_WIDTH = 64  # n
CONVOLUTION_FRAMES = 3
# Frames that are taken together as one masked matrix product; the states between
# chunks go through an associative scan.
CHUNK_FRAMES = 64
LAYER_NORM_EPSILON = 1e-5  # PyTorch's default


def selective_scan(
    values: jax.Array,
    steps: jax.Array,
    rates: jax.Array,
    keys: jax.Array,
    queries: jax.Array,
) -> jax.Array:
    """Runs the state space over time, from a state of zeros.

    `state_t = exp(rate * step_t) * state_(t-1) + step_t * key_t value_t^T`, and the
    output is `query_t^T state_t`. No factor that is multiplied with a state or value
    is above one, so that nothing overflows however long the clip is.

    Args:
        values: x of the paper, `[b, t, heads, p]`.
        steps: Step sizes (Delta), positive, `[b, t, heads]`.
        rates: Decay rates (A), negative, `[heads]`.
        keys: B of the paper, `[b, t, n]`, common to all heads.
        queries: C of the paper, `[b, t, n]`.

    Returns:
        `[b, t, heads, p]`.
    """
    n_frames = values.shape[1]
    # A frame of step zero neither decays the state nor adds to it.
    chunked = [_in_chunks(x) for x in (values * steps[..., None], steps, keys, queries)]
    driven, steps, keys, queries = chunked
    driven = driven.swapaxes(2, 3)  # [b, chunks, heads, frames, p]
    # Logarithm of the decay since the chunk's start, [b, chunks, heads, frames].
    decay = jnp.cumsum(steps * rates, axis=2).swapaxes(2, 3)

    among = decay[..., :, None] - decay[..., None, :]
    earlier = np.tri(among.shape[-1], dtype=bool)
    scores = jnp.einsum("bcqn,bckn->bcqk", queries, keys)[:, :, None]
    within = (scores * jnp.exp(jnp.where(earlier, among, -jnp.inf))) @ driven

    left = jnp.exp(decay[..., -1:] - decay)
    added = jnp.einsum("bckn,bchkp->bchnp", keys, driven * left[..., None])
    entering = _states_before_chunks(jnp.exp(decay[..., -1]), added)
    carried = jnp.einsum("bcqn,bchnp->bchqp", queries, entering)
    out = within + carried * jnp.exp(decay)[..., None]

    out = out.swapaxes(2, 3)
    return out.reshape(out.shape[0], -1, *out.shape[3:])[:, :n_frames]


def _in_chunks(x):
    """Pads `[b, t, ...]` with zeros and cuts it to `[b, chunks, frames, ...]`."""
    size = min(CHUNK_FRAMES, x.shape[1])
    lacking = -x.shape[1] % size
    x = jnp.pad(x, ((0, 0), (0, lacking)) + ((0, 0),) * (x.ndim - 2))
    return x.reshape(x.shape[0], -1, size, *x.shape[2:])


def _states_before_chunks(kept, added):
    """States `[b, chunks, heads, n, p]` that each chunk starts from.

    Args:
        kept: What a chunk leaves of the state before it, `[b, chunks, heads]`.
        added: What a chunk adds to the state, `[b, chunks, heads, n, p]`.
    """

    def join(earlier, later):
        kept_earlier, added_earlier = earlier
        kept_later, added_later = later
        return kept_earlier * kept_later, kept_later * added_earlier + added_later

    factors = kept[..., None, None]
    _, after = jax.lax.associative_scan(join, (factors, added), axis=1)
    return jnp.pad(after[:, :-1], ((0, 0), (1, 0)) + ((0, 0),) * 3)


class CausalConvolution(nn.Module):
    """Convolution of each feature over the current and the last frames.

    Attributes:
        dtype: Type to compute in.
    """

    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[b, t, d]` to `[b, t, d]`; before the clip there are zeros."""
        n_frames, features = frames.shape[1:]
        init = fan_in_uniform(CONVOLUTION_FRAMES)
        kernel = self.param("kernel", init, (CONVOLUTION_FRAMES, features))
        bias = self.param("bias", init, (features,))
        padded = jnp.pad(frames, ((0, 0), (CONVOLUTION_FRAMES - 1, 0), (0, 0)))
        shifted = (padded[:, i : i + n_frames] for i in range(CONVOLUTION_FRAMES))
        kernel, bias = kernel.astype(self.dtype), bias.astype(self.dtype)
        return sum(now * tap for now, tap in zip(shifted, kernel)) + bias


class MambaMixer(nn.Module):
    """Convolution, selective state space and gate between two projections.

    Attributes:
        width: Number of features in and out.
        heads: Number of heads; divides `EXPANSION * width`.
        dtype: Type to compute in, float32 or better: errors of the step sizes add up
            over time.
    """

    width: int
    heads: int
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[b, t, d]` to `[b, t, d]`."""
        inner = EXPANSION * self.width
        convolved = inner + 2 * STATE_WIDTH
        options = {"use_bias": False, "dtype": self.dtype}
        projected = Dense(
            inner + convolved + self.heads,
            kernel_init=fan_in_uniform(self.width),
            name="in_proj",
            **options,
        )(frames)
        gate, mixed, steps = jnp.split(projected, [inner, inner + convolved], axis=-1)
        mixed = nn.silu(CausalConvolution(self.dtype, name="conv")(mixed))

        step_bias, log_rate, skip = (
            self.param(name, init, (self.heads,)).astype(self.dtype)
            for name, init in (
                ("dt_bias", _step_bias_init),
                ("A_log", _log_rate_init),
                ("D", nn.initializers.ones),
            )
        )
        values, keys, queries = jnp.split(mixed, [inner, inner + STATE_WIDTH], axis=-1)
        values = values.reshape(*values.shape[:2], self.heads, -1)
        scanned = selective_scan(
            values, nn.softplus(steps + step_bias), -jnp.exp(log_rate), keys, queries
        )
        scanned = (scanned + skip[:, None] * values).reshape(gate.shape)
        return Dense(
            self.width, kernel_init=fan_in_uniform(inner), name="out_proj", **options
        )(scanned * nn.silu(gate))


class MambaBlock(nn.Module):
    """`x + norm(mixer(x))`.

    Attributes:
        width: Number of features.
        heads: Number of heads of the mixer.
        dropout: Rate after the norm.
        dtype: Type to compute in, float32 or better.
    """

    width: int
    heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[b, t, d]` to `[b, t, d]`."""
        mixer = MambaMixer(self.width, self.heads, self.dtype, name="mixer")
        branch = layer_norm("norm", self.dtype, LAYER_NORM_EPSILON)(mixer(frames))
        return frames + drop(self, branch, self.dropout)


def _step_bias_init(key, shape, dtype=jnp.float32):
    """Step sizes log-uniform in 0.001 to 0.1, before the softplus."""
    low, high = np.log(1e-3), np.log(1e-1)
    step = jnp.exp(jax.random.uniform(key, shape, dtype, low, high))
    return step + jnp.log(-jnp.expm1(-step))


def _log_rate_init(key, shape, dtype=jnp.float32):
    """Rates uniform in -16 to -1."""
    return jnp.log(jax.random.uniform(key, shape, dtype, 1.0, 16.0))
