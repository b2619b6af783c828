import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.atst_frame import GRID, AtstEmbed
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import VisionTransformer, VitConfig
from tests.test_models import drawn

SMALL = VitConfig(width=8, depth=3, heads=2, mlp_width=16, qkv_bias=True)
PREFIXED = Grid(mel_frames=8, frames_per_step=1, steps=8, prefix=2)


class Embed(nn.Module):
    """Two constant tokens in front of the mel frames themselves."""

    @nn.compact
    def __call__(self, mel, n_mel_frames=None):
        scale = self.param("scale", nn.initializers.ones, (8,))
        tokens = jnp.concatenate([jnp.ones_like(mel[:, :2]), mel * scale], axis=1)
        return tokens, {"patch": mel * scale}


@pytest.fixture(scope="module")
def encoder():
    return VisionTransformer(Embed(), PREFIXED, SMALL, "atst_frame")


def test_layer_names_are_the_parameter_keys_bottom_first(encoder):
    variables = drawn.params_for(encoder, jnp.zeros((1, 5, 8)))
    assert encoder.layer_names == ("embed", "block_0", "block_1", "block_2", "norm")
    assert set(variables["params"]) == set(encoder.layer_names)


def test_output_is_normed_frames_without_prefix_and_all_intermediates(encoder):
    mel = jax.random.normal(jax.random.key(1), (2, 5, 8))
    params = drawn.params_for(encoder, mel)
    frames, out = jax.jit(encoder.apply)(params, mel)
    assert frames.shape == (2, 5, 8)
    assert sorted(out) == sorted(["patch", "block_0", "block_1", "block_2", "norm"])
    assert out["block_2"].shape == (2, 7, 8)
    norm = params["params"]["norm"]
    normed = (frames - norm["bias"]) / norm["scale"]
    np.testing.assert_allclose(normed.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(normed.std(axis=-1), 1, atol=1e-3)


def test_padding_changes_nothing_for_a_clip(encoder):
    mel = jax.random.normal(jax.random.key(1), (2, 7, 8))
    params = drawn.params_for(encoder, mel)
    alone, _ = encoder.apply(params, mel[1:, :4])
    padded, _ = encoder.apply(params, mel, jnp.array([7, 4]))
    np.testing.assert_allclose(padded[1:, :4], alone, atol=1e-5)
    whole, _ = encoder.apply(params, mel)
    np.testing.assert_allclose(padded[0], whole[0], atol=1e-5)
    assert np.abs(padded[1, :4] - whole[1, :4]).max() > 1e-2


def test_drop_path_rises_from_bottom_to_top():
    config = VitConfig(8, 3, 2, 16, drop_path=0.999)
    encoder = VisionTransformer(Embed(), PREFIXED, config, "atst_frame")
    mel = jnp.tile(jax.random.normal(jax.random.key(1), (1, 5, 8)), (16, 1, 1))
    params = drawn.params_for(encoder, mel)
    _, plain = encoder.apply(params, mel)
    _, out = encoder.apply(params, mel, rngs={"dropout": jax.random.key(2)})
    np.testing.assert_array_equal(out["block_0"], plain["block_0"])
    kept = np.isclose(out["block_2"], out["block_1"]).all(axis=(1, 2))
    assert kept.mean() > 0.8


def test_contract(encoder):
    assert (encoder.width, encoder.frame_rate_hz, encoder.clip_seconds) == (8, 100, 0.1)
    assert encoder.frontend == "atst_frame"


def test_weights_start_with_the_configured_deviation_and_biases_at_zero():
    config = VitConfig(width=32, depth=1, heads=2, mlp_width=64, init_std=0.02)
    encoder = VisionTransformer(
        AtstEmbed(config, "float32"), GRID, config, "atst_frame"
    )
    params = jax.jit(encoder.init)(jax.random.key(0), jnp.zeros((1, 5, 64)))["params"]
    block, embed = params["block_0"], params["embed"]
    for kernel in (block["attn"]["qkv"]["kernel"], embed["patch"]["kernel"]):
        assert np.std(kernel) == pytest.approx(0.02, rel=0.1)
    assert np.std(embed["positions"]) == pytest.approx(0.02, rel=0.1)
    assert not np.any(block["mlp"]["fc1"]["bias"])
    np.testing.assert_array_equal(block["norm1"]["scale"], 1)
