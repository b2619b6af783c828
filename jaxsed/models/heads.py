"""From encoder frames to label frames, and from those to class logits."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.tokens import before


def align(frames: jax.Array, n_frames: int) -> jax.Array:
    """Resamples a sequence in time: averages it when longer, interpolates when shorter.

    PyTorch's `adaptive_avg_pool1d` and `interpolate(mode="linear")`, as in
    PretrainedSED's `models/prediction_wrapper.py`.

    Args:
        frames: `[b, s, d]`.
        n_frames: Number of frames wanted.

    Returns:
        `[b, n_frames, d]`; `frames` itself where the number is right already.
    """
    length = frames.shape[1]
    if length == n_frames:
        return frames
    weights = average_matrix if length > n_frames else linear_matrix
    matrix = jnp.asarray(weights(length, n_frames), frames.dtype)
    return jnp.einsum(
        "ns,bsd->bnd", matrix, frames, precision=jax.lax.Precision.HIGHEST
    )


def time_mean(frames: jax.Array, n_frames: jax.Array | None = None) -> jax.Array:
    """Mean over a clip's frames, in float32 or better also for bfloat16 frames.

    Args:
        frames: `[b, t, d]`.
        n_frames: int `[b]`, how many of them are the clip's; None for all.

    Returns:
        `[b, d]`.
    """
    accumulate = jnp.promote_types(frames.dtype, jnp.float32)
    if n_frames is None:
        return jnp.mean(frames, axis=1, dtype=accumulate)
    inside = before(n_frames, frames.shape[1])[..., None]
    total = jnp.sum(frames, axis=1, dtype=accumulate, where=inside)
    return total / n_frames[:, None]


@functools.cache
def average_matrix(length: int, n_frames: int) -> np.ndarray:
    """Adaptive average: frame i is the mean over `floor(i s/n) .. ceil((i+1) s/n) - 1`.

    Args:
        length: Number of frames in, s.
        n_frames: Number of frames out, n.

    Returns:
        float64 `[n_frames, length]`, not writable.
    """
    index = np.arange(n_frames)
    start = index * length // n_frames
    stop = -(-(index + 1) * length // n_frames)
    position = np.arange(length)
    inside = (position >= start[:, None]) & (position < stop[:, None])
    matrix = inside / (stop - start)[:, None]
    matrix.setflags(write=False)
    return matrix


@functools.cache
def linear_matrix(length: int, n_frames: int) -> np.ndarray:
    """Linear interpolation between frame centres, the outer frames held.

    Args:
        length: Number of frames in.
        n_frames: Number of frames out.

    Returns:
        float64 `[n_frames, length]`, not writable.
    """
    centre = (np.arange(n_frames) + 0.5) * length / n_frames - 0.5
    centre = np.clip(centre, 0, length - 1)
    distance = np.abs(centre[:, None] - np.arange(length))
    matrix = np.maximum(0.0, 1.0 - distance)
    matrix.setflags(write=False)
    return matrix


class LinearHead(nn.Module):
    """One dense layer to class logits, in float32 or better.

    Attributes:
        n_classes: Number of classes.
    """

    n_classes: int

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[..., d]` to logits `[..., c]`."""
        features = frames.shape[-1]
        init = fan_in_uniform(features)
        kernel = self.param("kernel", init, (features, self.n_classes))
        bias = self.param("bias", init, (self.n_classes,))
        # The matmul runs in the type of the frames, its sum is kept in float32.
        dtype = jnp.promote_types(frames.dtype, jnp.float32)
        logits = jnp.matmul(
            frames, kernel.astype(frames.dtype), preferred_element_type=dtype
        )
        return logits + bias.astype(dtype)
