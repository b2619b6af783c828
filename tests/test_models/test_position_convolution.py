import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.position_convolution import (
    PositionConvolution,
    grouped_convolution,
    kernel_gradient,
    paired_convolution,
    tap_norms,
)


def by_definition(frames, kernel, groups):
    """Tap by tap: what lies `taps // 2` frames back first, zeros beyond the ends."""
    taps, n_in, width = kernel.shape
    padded = np.pad(frames, ((0, 0), (taps // 2, (taps - 1) // 2), (0, 0)))
    result = np.zeros(frames.shape)
    for group in range(groups):
        ours = slice(group * n_in, (group + 1) * n_in)
        outputs = slice(group * (width // groups), (group + 1) * (width // groups))
        for tap in range(taps):
            seen = padded[:, tap : tap + frames.shape[1], ours]
            result[:, :, outputs] += seen @ kernel[tap, :, outputs]
    return result


def drawn(taps, groups, length=11, width=12):
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(2, length, width)).astype(np.float32)
    kernel = rng.normal(size=(taps, width // groups, width)).astype(np.float32)
    return frames, kernel


@pytest.mark.parametrize(("taps", "groups"), [(4, 3), (5, 1), (32, 4)])
def test_grouped_convolution_is_the_definition(taps, groups):
    frames, kernel = drawn(taps, groups)
    np.testing.assert_allclose(
        grouped_convolution(frames, kernel, groups),
        by_definition(frames, kernel, groups),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("taps", "length"), [(4, 12), (4, 11), (5, 10), (6, 11), (7, 12), (32, 11)]
)
def test_pairs_of_frames_see_the_same(taps, length):
    frames, kernel = drawn(taps, groups=3, length=length)
    np.testing.assert_allclose(
        paired_convolution(frames, kernel, 3),
        by_definition(frames, kernel, 3),
        atol=1e-4,
    )


@pytest.mark.parametrize(("taps", "groups"), [(4, 3), (5, 1), (32, 4)])
def test_its_gradients_are_those_of_the_plain_convolution(taps, groups):
    frames, kernel = drawn(taps, groups)
    weight = np.random.default_rng(1).normal(size=frames.shape).astype(np.float32)

    def loss(frames, kernel):
        return jnp.sum(grouped_convolution(frames, kernel, groups) * weight)

    grad_frames, grad_kernel = jax.jit(jax.grad(loss, argnums=(0, 1)))(frames, kernel)
    # The result is linear in either, so that finite differences are exact.
    for index in [(0, 0, 0), (1, 5, 7), (1, 10, 11)]:
        step = np.zeros_like(frames)
        step[index] = 1
        expected = np.sum(by_definition(step, kernel, groups) * weight)
        np.testing.assert_allclose(grad_frames[index], expected, atol=1e-4)
    for index in [(0, 0, 0), (taps - 1, 1, 7), (taps // 2, 2, 11)]:
        step = np.zeros_like(kernel)
        step[index] = 1
        expected = np.sum(by_definition(frames, step, groups) * weight)
        np.testing.assert_allclose(grad_kernel[index], expected, atol=1e-4)
    np.testing.assert_allclose(
        kernel_gradient(frames, weight, groups, taps), grad_kernel, atol=1e-4
    )


def test_the_kernel_has_one_magnitude_a_tap():
    module = PositionConvolution(taps=4, groups=3, dtype="float32")
    tokens = jax.random.normal(jax.random.key(0), (2, 11, 12))
    params = module.init(jax.random.key(1), tokens)["params"]
    direction, magnitude = params["direction"], params["magnitude"]
    assert magnitude.shape == (4,) and direction.shape == (4, 4, 12)
    # At the start, direction and kernel are the same.
    expected = jax.nn.gelu(grouped_convolution(tokens, direction, 3), approximate=False)
    np.testing.assert_allclose(
        module.apply({"params": params}, tokens), expected, atol=1e-5
    )
    longer = {**params, "direction": 7 * direction}
    np.testing.assert_allclose(
        module.apply({"params": longer}, tokens), expected, atol=1e-5
    )
    np.testing.assert_allclose(magnitude, tap_norms(direction), rtol=1e-6)


def test_weights_start_as_in_the_original():
    module = PositionConvolution(taps=64, groups=4, dtype="float32")
    params = module.init(jax.random.key(1), jnp.zeros((1, 3, 64)))["params"]
    assert np.std(params["direction"]) == pytest.approx(
        (4 / (64 * 64)) ** 0.5, rel=0.02
    )
    assert not np.any(params["bias"])
