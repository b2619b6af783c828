"""Positions from a wide grouped convolution over the tokens, with weight norm."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.gelu import gelu

LAYOUT = ("NWC", "WIO", "NWC")


class PositionConvolution(nn.Module):
    """GELU of a grouped convolution whose kernel is `magnitude * direction / norm`.

    One magnitude for each tap; the norm of a tap is taken over inputs and outputs.
    Follows PretrainedSED's `models/beats/backbone.py` (`pos_conv`).

    Attributes:
        taps: Length of the kernel in tokens; with an even number, it reaches one
            token further back than ahead.
        groups: Number of groups of features; divides their number.
        dtype: Type to compute in; the kernel is normalised in float32 or better.
    """

    taps: int
    groups: int
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps tokens `[b, s, d]` to `[b, s, d]`; beyond the ends it sees zeros."""
        width = tokens.shape[-1]
        direction = self.param(
            "direction",
            nn.initializers.normal((4 / (self.taps * width)) ** 0.5),
            (self.taps, width // self.groups, width),
        )
        # At the start, weight norm changes nothing.
        magnitude = self.param("magnitude", lambda _: tap_norms(direction))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        kernel = direction * (magnitude / tap_norms(direction))[:, None, None]

        def plain(tokens, kernel):
            return grouped_convolution(tokens, kernel, self.groups)

        def paired(tokens, kernel):
            return paired_convolution(tokens, kernel, self.groups)

        convolved = jax.lax.platform_dependent(
            tokens, jnp.asarray(kernel, self.dtype), tpu=paired, default=plain
        )
        return gelu(convolved + jnp.asarray(bias, self.dtype))


def tap_norms(kernel: jax.Array) -> jax.Array:
    """Euclidean norm of each tap of a kernel `[taps, in, out]`: `[taps]`."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=(1, 2)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def grouped_convolution(frames: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """Convolution in time that keeps the length, zeros beyond the ends.

    Args:
        frames: `[b, s, d]`.
        kernel: `[taps, d / groups, d]`.
        groups: Output features see the inputs of their own group only.

    Returns:
        `[b, s, d]`.
    """
    return _convolve(frames, kernel, groups)


def paired_convolution(frames: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """`grouped_convolution`, two frames at a time.

    For matrix units that are wider than a group: the features of a pair of frames lie
    side by side, and the kernel leads from pairs to pairs.

    Args:
        frames: `[b, s, d]`.
        kernel: `[taps, d / groups, d]`.
        groups: Output features see the inputs of their own group only.

    Returns:
        `[b, s, d]`.
    """
    n_clips, length, width = frames.shape
    taps, features, _ = kernel.shape
    n_pairs, before = -(-length // 2), taps // 2
    pairs_before = -(-before // 2)
    lead = 2 * pairs_before - before
    n_seen = -(-(lead + taps + 1) // 2)  # pairs
    # The second frame of a pair meets each tap one frame later.
    frames = jnp.pad(frames, ((0, 0), (0, 2 * n_pairs - length), (0, 0)))
    delays = (lead, lead + 1)
    delayed = [
        jnp.pad(kernel, ((delay, 2 * n_seen - taps - delay), (0, 0), (0, 0))).reshape(
            n_seen, 2 * features, groups, -1
        )
        for delay in delays
    ]
    by_pair = frames.reshape(n_clips, n_pairs, 2, groups, features).swapaxes(2, 3)
    convolved = jax.lax.conv_general_dilated(
        by_pair.reshape(n_clips, n_pairs, 2 * width),
        jnp.concatenate(delayed, axis=-1).reshape(n_seen, 2 * features, 2 * width),
        window_strides=(1,),
        padding=[(pairs_before, n_seen - 1 - pairs_before)],
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )
    by_pair = convolved.reshape(n_clips, n_pairs, groups, 2, -1).swapaxes(2, 3)
    return by_pair.reshape(n_clips, 2 * n_pairs, width)[:, :length]


def _convolve(frames, kernel, groups):
    taps = kernel.shape[0]
    return jax.lax.conv_general_dilated(
        frames,
        kernel,
        window_strides=(1,),
        padding=[(taps // 2, (taps - 1) // 2)],
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def _forward(frames, kernel, groups):
    return _convolve(frames, kernel, groups), (frames, kernel)


def _backward(groups, residuals, grad):
    frames, kernel = residuals
    grad_frames = jax.linear_transpose(lambda x: _convolve(x, kernel, groups), frames)(
        grad
    )[0]

    def transposed(frames, grad):
        return jax.linear_transpose(lambda w: _convolve(frames, w, groups), kernel)(
            grad
        )[0]

    def as_convolution(frames, grad):
        return kernel_gradient(frames, grad, groups, kernel.shape[0])

    # XLA's own way leaves the fast path on the CPU: 15 times as slow at full size.
    grad_kernel = jax.lax.platform_dependent(
        frames, grad, cpu=as_convolution, default=transposed
    )
    return grad_frames, grad_kernel


grouped_convolution.defvjp(_forward, _backward)


def kernel_gradient(
    frames: jax.Array, grad: jax.Array, groups: int, taps: int
) -> jax.Array:
    """Gradient of the kernel as a grouped convolution of its own.

    Input features of a group take the place of clips, clips that of input features,
    and the gradient of the output that of a kernel as long as the clip.

    Args:
        frames: `[b, s, d]`, what was convolved.
        grad: `[b, s, d]`, gradient of the result.
        groups: Number of groups.
        taps: Length of the kernel.

    Returns:
        `[taps, d / groups, d]`.
    """
    n_clips, length, width = frames.shape
    by_group = frames.reshape(n_clips, length, groups, width // groups)
    by_input = by_group.transpose(3, 1, 2, 0)
    gradient = jax.lax.conv_general_dilated(
        by_input.reshape(width // groups, length, groups * n_clips),
        grad.swapaxes(0, 1),
        window_strides=(1,),
        padding=[(taps // 2, (taps - 1) // 2)],
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )
    return gradient.swapaxes(0, 1)
