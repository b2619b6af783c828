"""Convolutions of few channels, for matrix units that want 128.

Neighbouring frequencies are taken for channels of one wider place. The kernel between
places is mostly zeros: two to eight times the arithmetic, at several times the speed.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.gelu import gelu

TAPS = 3  # in time and frequency
LAYOUT = ("NHWC", "HWIO", "NHWC")


def convolve(frames: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolution of 3 x 3 with one row of zeros around, as it is written down.

    Args:
        frames: `[b, t, f, channels]`.
        kernel: `[3, 3, channels, features]`, time before frequency.
        stride: In time and frequency.

    Returns:
        `[b, ceil(t / stride), ceil(f / stride), features]`.
    """
    return jax.lax.conv_general_dilated(
        frames, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=LAYOUT
    )


def folded_convolution(
    frames: jax.Array, kernel: jax.Array, bias: jax.Array, stride: int, places: int
) -> jax.Array:
    """GELU of `convolve` plus bias, with frequencies folded to so many places.

    Args:
        frames: `[b, t, f, channels]`.
        kernel: `[3, 3, channels, features]`.
        bias: `[features]`.
        stride: In time and frequency; divides f.
        places: Divides `f / stride`.

    Returns:
        `[b, ceil(t / stride), f / stride, features]`.
    """
    n_clips, length, bins, channels = frames.shape
    features, n_out = kernel.shape[-1], bins // stride // places
    selected, before = selection(bins, stride, places)
    wide = jnp.einsum(
        "zfod,tdci->tzfcoi",
        jnp.asarray(selected, kernel.dtype),
        kernel,
        precision=jax.lax.Precision.HIGHEST,
    )
    wide = wide.reshape(TAPS, len(selected), channels * bins // places, -1)
    folded = frames.reshape(n_clips, length, places, -1)
    after = len(selected) - 1 - before
    convolved = jax.lax.conv_general_dilated(
        folded,
        wide.astype(frames.dtype),
        (stride, 1),
        ((1, 1), (before, after)),
        dimension_numbers=LAYOUT,
    )
    activated = gelu(convolved + jnp.tile(bias.astype(frames.dtype), n_out))
    return activated.reshape(n_clips, -1, bins // stride, features)


@functools.cache
def selection(bins: int, stride: int, places: int) -> tuple[np.ndarray, int]:
    """Which tap of a kernel leads from where to where when frequencies are folded.

    Args:
        bins: Frequencies that come in.
        stride: Of the convolution.
        places: That they are folded to.

    Returns:
        0 or 1, `[places seen, frequencies in, frequencies out, taps]`, and how many of
        the places seen are before a place.
    """
    n_in, n_out = bins // places, bins // places // stride
    offset = np.arange(-1, 2)[:, None, None] * n_in + np.arange(n_in)[:, None]
    tap = offset - stride * np.arange(n_out) + 1
    selected = (tap[..., None] == np.arange(TAPS)).astype(np.float32)
    if places == 1:
        return selected[1:2], 0
    return (selected, 1) if selected[2].any() else (selected[:2], 1)


class FoldedConvolution(nn.Module):
    """GELU of a convolution of 3 x 3 with one row of zeros around.

    Attributes:
        features: Channels out.
        stride: In time and frequency.
        places: What TPUs fold frequencies to.
        initializer: Of kernel and bias.
        dtype: Type to compute in; parameters are float32.
    """

    features: int
    stride: int
    places: int
    initializer: nn.initializers.Initializer
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[b, t, f, channels]` to `[b, t / stride, f / stride, features]`."""
        shape = (TAPS, TAPS, frames.shape[-1], self.features)
        kernel = self.param("kernel", self.initializer, shape)
        bias = self.param("bias", self.initializer, (self.features,))

        def plain(frames, kernel, bias):
            convolved = convolve(frames, kernel.astype(self.dtype), self.stride)
            return gelu(convolved + bias.astype(self.dtype))

        def folded(frames, kernel, bias):
            return folded_convolution(frames, kernel, bias, self.stride, self.places)

        return jax.lax.platform_dependent(
            frames, kernel, bias, tpu=folded, default=plain
        )
