"""The blocks of MobileNetV3 (Howard et al., 2019), along time and frequency.

Follows PretrainedSED's `models/frame_mn/block_types.py`. Images are `[b, t, f, c]`;
`length`, int `[b]` or None, says how many of `t` belong to each clip. What lies beyond
is silenced wherever a layer looks over time, so that a padded clip gets what it gets
alone, where convolutions see zeros after its end.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.batch_norm import BatchNorm
from jaxsed.models.heads import time_mean
from jaxsed.models.tokens import before, silenced, strided

Length = jax.Array | None

# PyTorch's kaiming_normal_ in mode "fan_out", as in the original's `model.py`.
KERNEL_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
SQUEEZE_INIT = nn.initializers.normal(0.01)  # likewise
SQUEEZE_RATIO = 4  # `se_r` of the original's `get_model`
EPSILON, MOMENTUM = 1e-3, 0.01  # of its batch normalisation


def rounded_channels(channels: float) -> int:
    """Nearest multiple of 8, but not less than 90 % of what is asked for.

    `make_divisible` of the original's `utils.py`.
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation and activation.

    A kernel of one element sees all channels; a larger one sees either the channel
    that it makes, or the only one there is.

    Attributes:
        channels: Number of channels out.
        kernel: Size of the kernel in time and frequency alike; odd.
        strides: In time and in frequency.
        activation: Elementwise function, or None.
        dtype: Type to compute in.
    """

    channels: int
    kernel: int = 1
    strides: tuple[int, int] = (1, 1)
    activation: Callable[[jax.Array], jax.Array] | None = None
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, image: jax.Array, length: Length) -> tuple[jax.Array, Length]:
        """Maps `[b, t, f, c]` and its length to an image and its length."""
        options = {"kernel_init": KERNEL_INIT, "dtype": self.dtype, "name": "conv"}
        if self.kernel == 1:
            image = nn.Dense(self.channels, use_bias=False, **options)(image)
        else:
            image = silenced(image, length)
            convolution = DepthwiseConv(
                self.channels, self.kernel, self.strides, **options
            )
            image = convolution(image)
            length = strided(length, self.strides[0])
        norm = BatchNorm(EPSILON, MOMENTUM, self.dtype, name="norm")
        image = norm(image, _inside(length, image))
        return image if self.activation is None else self.activation(image), length


class DepthwiseConv(nn.Module):
    """Every output channel sees one input channel; zeros around the image.

    Attributes:
        channels: Number of channels out, and in unless that is 1.
        kernel: Size of the kernel in time and frequency alike; odd.
        strides: In time and in frequency.
        kernel_init: Initialiser of the kernel `[k, k, 1, c]`.
        dtype: Type to compute in; sums are float32 or better.
    """

    channels: int
    kernel: int
    strides: tuple[int, int]
    kernel_init: nn.initializers.Initializer
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps `[b, t, f, c]` to `[b, ceil(t / stride), ceil(f / stride), c]`."""
        size = self.kernel
        shape = (size, size, 1, self.channels)
        kernel = self.param("kernel", self.kernel_init, shape)
        accumulate = jnp.promote_types(self.dtype, jnp.float32)
        kernel = jnp.asarray(kernel, self.dtype).astype(accumulate)
        ends = [
            (extent - 1) // stride * stride + 1
            for extent, stride in zip(image.shape[1:3], self.strides)
        ]
        edge = (size // 2, size // 2)
        image = jnp.pad(image, ((0, 0), edge, edge, (0, 0))).astype(accumulate)
        # A sum of shifted images, which XLA makes one loop of; its grouped convolution
        # takes ten times as long on a CPU, and minutes in float64.
        total = 0.0
        for t, f in np.ndindex(size, size):
            shifted = image[
                :,
                t : t + ends[0] : self.strides[0],
                f : f + ends[1] : self.strides[1],
            ]
            total = total + shifted * kernel[t, f, 0]
        return total


class SqueezeExcitation(nn.Module):
    """Weights every channel of a clip by a function of all channels' means.

    Attributes:
        hidden: Number of features between the two dense layers.
        dtype: Type to compute in.
    """

    hidden: int
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, image: jax.Array, length: Length) -> jax.Array:
        """Maps `[b, t, f, c]` to `[b, t, f, c]`; the means are over `t` and `f`."""
        accumulate = jnp.promote_types(image.dtype, jnp.float32)
        means = time_mean(jnp.mean(image, axis=2, dtype=accumulate), length)
        options = {"kernel_init": SQUEEZE_INIT, "dtype": self.dtype}
        hidden = nn.relu(nn.Dense(self.hidden, name="fc1", **options)(means))
        weights = nn.Dense(image.shape[-1], name="fc2", **options)(hidden)
        return image * nn.sigmoid(weights)[:, None, None]


class InvertedResidual(nn.Module):
    """Widens, convolves every channel on its own, weights channels, narrows.

    Attributes:
        kernel: Size of the depthwise kernel in time and frequency.
        hidden: Number of channels inside; where it is that of the input, nothing is
            widened.
        channels: Number of channels out.
        squeezes: Whether there is a squeeze-and-excitation.
        activation: Elementwise function after the first two convolutions.
        strides: In time and in frequency; the input is added where both are 1 and the
            number of channels stays.
        dtype: Type to compute in.
    """

    kernel: int
    hidden: int
    channels: int
    squeezes: bool
    activation: Callable[[jax.Array], jax.Array]
    strides: tuple[int, int]
    dtype: Any = "float32"

    @nn.compact
    def __call__(self, image: jax.Array, length: Length) -> tuple[jax.Array, Length]:
        """Maps `[b, t, f, c]` and its length to an image and its length."""
        inner = {"activation": self.activation, "dtype": self.dtype}
        x, length_in = image, length
        if self.hidden != image.shape[-1]:
            x, _ = ConvNorm(self.hidden, name="expand", **inner)(x, length_in)
        x, length = ConvNorm(
            self.hidden,
            self.kernel,
            self.strides,
            name="depthwise",
            **inner,
        )(x, length_in)
        if self.squeezes:
            hidden = rounded_channels(self.hidden // SQUEEZE_RATIO)
            x = SqueezeExcitation(hidden, self.dtype, name="squeeze")(x, length)
        x, _ = ConvNorm(self.channels, dtype=self.dtype, name="project")(x, length)
        if self.strides == (1, 1) and self.channels == image.shape[-1]:
            x = x + image
        return x, length


def _inside(length: Length, image: jax.Array) -> jax.Array | None:
    if length is None:
        return None
    return before(length, image.shape[1])[:, :, None, None]
