import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.folded_convolution import (
    FoldedConvolution,
    convolve,
    folded_convolution,
)
from jaxsed.models.gelu import gelu

# Bins, channels, features, stride, places: as the three layers of fPaSST's stem.
LAYERS = [(16, 1, 4, 2, 1), (16, 3, 5, 1, 4), (24, 4, 6, 2, 3)]


def drawn(bins, channels, features, length=7):
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = (2, length, bins, channels), (3, 3, channels, features), (features,)
    return tuple(jax.random.normal(key, shape) for key, shape in zip(keys, shapes))


def test_convolve_is_the_definition():
    frames, kernel, _ = drawn(bins=6, channels=2, features=3)
    padded = np.pad(frames, ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 4, 3, 3))
    for step, bin_ in np.ndindex(4, 3):
        seen = padded[:, 2 * step : 2 * step + 3, 2 * bin_ : 2 * bin_ + 3]
        expected[:, step, bin_] = np.einsum("bijc,ijco->bo", seen, kernel)
    np.testing.assert_allclose(convolve(frames, kernel, 2), expected, atol=1e-5)


@pytest.mark.parametrize(("bins", "channels", "features", "stride", "places"), LAYERS)
def test_folding_changes_neither_result_nor_gradients(
    bins, channels, features, stride, places
):
    operands = drawn(bins, channels, features)

    def plain(frames, kernel, bias):
        return gelu(convolve(frames, kernel, stride) + bias)

    def folded(frames, kernel, bias):
        return folded_convolution(frames, kernel, bias, stride, places)

    @functools.partial(jax.jit, static_argnums=0)
    def taken(form):
        result, pull_back = jax.vjp(form, *operands)
        return result, pull_back(jnp.cos(jnp.arange(result.size)).reshape(result.shape))

    for ours, theirs in zip(*(jax.tree.leaves(taken(f)) for f in (folded, plain))):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_the_layer_is_the_convolution_and_its_activation():
    frames, kernel, bias = drawn(bins=8, channels=2, features=3)
    layer = FoldedConvolution(3, 2, 1, jax.nn.initializers.normal(), "float32")
    shapes = jax.eval_shape(layer.init, jax.random.key(0), frames)["params"]
    assert jax.tree.map(jnp.shape, shapes) == {"kernel": (3, 3, 2, 3), "bias": (3,)}
    found = layer.apply({"params": {"kernel": kernel, "bias": bias}}, frames)
    np.testing.assert_allclose(found, gelu(convolve(frames, kernel, 2) + bias))
