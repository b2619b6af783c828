import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.mobile_blocks import (
    DepthwiseConv,
    InvertedResidual,
    SqueezeExcitation,
    rounded_channels,
)
from tests.test_models import drawn


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).normal(size=(2, 9, 8, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("wanted", "rounded"),
    # 8 would be less than 90 % of 9.6, and 16 of 19.
    [(1, 8), (9.6, 16), (14.4, 16), (17, 16), (19, 24), (38.4, 40), (672 * 0.6, 400)],
)
def test_channels_are_multiples_of_eight_and_not_much_fewer(wanted, rounded):
    assert rounded_channels(wanted) == rounded


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 4)])
@pytest.mark.parametrize("channels_in", [1, 6])
def test_depthwise_convolution_is_a_grouped_one(image, kernel, strides, channels_in):
    image = image[..., :channels_in]
    module = DepthwiseConv(6, kernel, strides, nn.initializers.normal())
    params = drawn.params_for(module, image)["params"]
    convolved = module.apply({"params": params}, image)
    expected = jax.lax.conv_general_dilated(
        image,
        params["kernel"],
        strides,
        [(kernel // 2, kernel // 2)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels_in,
    )
    np.testing.assert_allclose(convolved, expected, atol=1e-5)


def test_squeeze_weights_channels_by_means_over_the_clip_alone(image):
    module = SqueezeExcitation(hidden=3)
    params = drawn.params_for(module, image, None)["params"]
    means = np.stack([image[0].mean((0, 1)), image[1, :4].mean((0, 1))])
    hidden = np.maximum(means @ params["fc1"]["kernel"] + params["fc1"]["bias"], 0)
    weights = hidden @ params["fc2"]["kernel"] + params["fc2"]["bias"]
    expected = image / (1 + np.exp(-weights))[:, None, None]
    weighted = module.apply({"params": params}, image, jnp.array([9, 4]))
    np.testing.assert_allclose(weighted, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "strides", "adds"),
    [(6, (1, 1), True), (8, (1, 1), False), (6, (1, 2), False), (6, (2, 1), False)],
)
def test_input_is_added_where_it_fits(image, channels, strides, adds):
    block = InvertedResidual(3, 12, channels, False, nn.relu, strides)
    params = drawn.params_for(block, image, None)["params"]
    norm = params["project"]["norm"]
    norm |= {"scale": 0 * norm["scale"], "bias": 0 * norm["bias"]}
    result, _ = block.apply({"params": params}, image, None)
    np.testing.assert_array_equal(result, image if adds else 0)


def test_a_block_expands_and_squeezes_only_where_it_should(image):
    def names(hidden, squeezes):
        block = InvertedResidual(3, hidden, 6, squeezes, nn.relu, (1, 1))
        return set(drawn.params_for(block, image, None)["params"])

    assert names(6, False) == {"depthwise", "project"}
    assert names(12, True) == {"expand", "depthwise", "squeeze", "project"}


def test_length_is_that_of_the_strided_clip(image):
    block = InvertedResidual(3, 6, 6, False, nn.relu, (2, 1))
    params = drawn.params_for(block, image, None)
    result, length = block.apply(params, image, jnp.array([9, 4]))
    np.testing.assert_array_equal(length, [5, 2])
    assert result.shape[1] == 5


def test_weights_start_as_the_originals():
    """`kaiming_normal_` by fan-out, which for PyTorch counts all channels out."""
    block = InvertedResidual(5, 576, 96, True, nn.relu, (1, 2))
    image = jnp.zeros((1, 1, 2, 96))
    params = jax.jit(block.init)(jax.random.key(0), image, None)["params"]
    for name, fan_out in (("expand", 576), ("depthwise", 576 * 25), ("project", 96)):
        kernel = params[name]["conv"]["kernel"]
        assert np.std(kernel) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
    assert np.std(params["squeeze"]["fc1"]["kernel"]) == pytest.approx(0.01, rel=0.05)
    assert not np.any(params["squeeze"]["fc2"]["bias"])
    for name, value in (("scale", 1), ("bias", 0), ("mean", 0), ("var", 1)):
        np.testing.assert_array_equal(params["expand"]["norm"][name], value)
