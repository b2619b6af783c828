import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.patches import PatchEmbed, positions_on_grid
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import VitConfig
from tests.test_models import drawn

CONFIG = VitConfig(width=4, depth=1, heads=1, mlp_width=8)
BY_TIME = Grid(mel_frames=96, frames_per_step=16, steps=6, rows=2, prefix=1)
BY_FREQUENCY = dataclasses.replace(BY_TIME, time_major=False)
RESIZED = (2, 5)  # a stored table for either grid


def random_mel(n_mel_frames):
    return jax.random.normal(jax.random.key(0), (2, n_mel_frames, 32))


@pytest.mark.parametrize("grid", [BY_TIME, BY_FREQUENCY])
def test_a_token_is_a_dense_layer_of_its_patch_and_its_position(grid):
    embed = PatchEmbed(grid, CONFIG, "float32")
    mel = random_mel(96)
    variables = drawn.params_for(embed, mel)
    tokens, out = embed.apply(variables, mel)
    assert tokens.shape == (2, 13, 4) and out["patch"].shape == (2, 12, 4)
    params = variables["params"]
    kernel, bias = params["patch"]["kernel"], params["patch"]["bias"]
    step, row = 4, 1
    token = step * 2 + row if grid.time_major else row * 6 + step
    patch = mel[1, step * 16 : (step + 1) * 16, row * 16 : (row + 1) * 16]
    expected = np.einsum("tf,tfd->d", patch, kernel) + bias
    np.testing.assert_allclose(out["patch"][1, token], expected, atol=1e-5)
    expected += params["positions"][1 + token]
    np.testing.assert_allclose(tokens[1, 1 + token], expected, atol=1e-5)
    cls = params["cls_token"] + params["positions"][0]
    np.testing.assert_allclose(tokens[:, 0], np.stack([cls, cls]), atol=1e-6)


def test_two_tokens_in_front_have_their_own_positions():
    grid = dataclasses.replace(BY_TIME, prefix=2)
    embed = PatchEmbed(grid, CONFIG, "float32")
    variables = drawn.params_for(embed, random_mel(32))
    tokens, _ = embed.apply(variables, random_mel(32))
    params = variables["params"]
    dist = params["dist_token"] + params["positions"][1]
    assert params["positions"].shape == (14, 4)
    np.testing.assert_allclose(tokens[0, 1], dist, atol=1e-6)


@pytest.mark.parametrize("stored_grid", [None, RESIZED])
@pytest.mark.parametrize("grid", [BY_TIME, BY_FREQUENCY])
def test_a_short_clip_is_the_start_of_a_long_one(grid, stored_grid):
    embed = PatchEmbed(grid, CONFIG, "float32", stored_grid=stored_grid)
    mel = random_mel(96)
    variables = drawn.params_for(embed, mel)
    long, _ = embed.apply(variables, mel)
    short, _ = embed.apply(variables, mel[:, :48])
    start = np.asarray(grid.valid_tokens(jnp.array([48]), 6)[0])
    np.testing.assert_allclose(short, long[:, start], atol=1e-6)


def test_a_stored_table_is_resized_height_over_time_and_width_over_frequency():
    height = jnp.broadcast_to(jnp.arange(2.0)[:, None, None], (2, 5, 4))
    width = jnp.broadcast_to(jnp.arange(5.0)[None, :, None], (2, 5, 4))
    for table, varies, constant in ((height, 0, 1), (width, 1, 0)):
        stored = jnp.concatenate([jnp.full((1, 4), 9.0), table.reshape(10, 4)])
        first, others = positions_on_grid(stored, BY_FREQUENCY, RESIZED)
        np.testing.assert_array_equal(first, stored[:1])
        assert others.shape == (6, 2, 4)
        assert (np.diff(others, axis=varies) > 0.05).any()
        np.testing.assert_allclose(np.diff(others, axis=constant), 0, atol=1e-6)


def test_a_stored_table_gives_a_time_its_position_whatever_the_compression():
    stored = np.random.default_rng(0).normal(size=(11, 4)).astype(np.float32)
    _, full = positions_on_grid(stored, BY_TIME, RESIZED)
    _, coarse = positions_on_grid(
        stored, BY_TIME.compressed(2, wider_steps=False), RESIZED
    )
    pairs = np.asarray(full).reshape(3, 2, 2, 4)
    np.testing.assert_allclose(coarse, pairs.mean(axis=1), atol=1e-6)


def test_gradients_reach_the_stored_table():
    embed = PatchEmbed(BY_TIME, CONFIG, "float32", stored_grid=RESIZED)
    mel = random_mel(96)
    params = drawn.params_for(embed, mel)
    gradients = jax.grad(lambda params: embed.apply(params, mel)[0].sum())(params)
    table = gradients["params"]["positions"]
    assert table.shape == (11, 4)
    # Each of 2 x 13 tokens has one position, and weights sum to 1.
    np.testing.assert_allclose(table.sum(axis=0), 26, rtol=1e-5)
    assert np.abs(table).min() > 0


def test_bfloat16_is_what_tokens_are_computed_in():
    embed = PatchEmbed(BY_TIME, CONFIG, "bfloat16", stored_grid=RESIZED)
    variables = drawn.params_for(embed, random_mel(96))
    tokens, out = embed.apply(variables, random_mel(96))
    assert tokens.dtype == out["patch"].dtype == jnp.bfloat16
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(variables))
