import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages.program import init_params
from jaxsed.training.patchout import Thinning, patchout
from jaxsed.training.remat import layers

KEY = jax.random.key(5)
FRAMES = 200  # mel frames, 2 s


class Grid:
    prefix, rows = 2, 3

    def __init__(self, time_major):
        self.time_major = time_major


@pytest.mark.parametrize("time_major", [True, False])
def test_whole_steps_are_left_out_and_come_back_as_the_mean_of_the_others(time_major):
    steps, seen = 10, 6
    step, row = np.meshgrid(np.arange(steps), np.arange(3), indexing="ij")
    value = 100.0 * row + step
    body = value.ravel() if time_major else value.T.ravel()
    tokens = jnp.asarray(np.append([-1.0, -2.0], body), jnp.float32)[None, :, None]
    thinning = Thinning(Grid(time_major), steps, seen, KEY)
    thin = thinning.thin(tokens)
    assert thin.shape == (1, 2 + 3 * seen, 1)
    kept = {float(v) % 100 for v in thin[0, 2:, 0]}
    assert len(kept) == seen
    expected = [v for v in np.asarray(tokens)[0, 2:, 0] if v % 100 in kept]
    assert thin[0, :, 0].tolist() == [-1, -2, *expected]
    filled = np.asarray(thinning.fill(thin))[0, :, 0]
    assert filled[:2].tolist() == [-1, -2]
    shape = (steps, 3) if time_major else (3, steps)
    back = filled[2:].reshape(shape) if time_major else filled[2:].reshape(shape).T
    for number in range(steps):
        mean = 100.0 * np.arange(3) + np.mean(sorted(kept))
        whole = value[number] if number in kept else mean
        np.testing.assert_allclose(back[number], whole, rtol=1e-6)


@functools.cache
def model_and_params(name):
    model = sed.build(name, 4)
    return model, jax.jit(lambda key: init_params(model, key))(KEY)


def heard(model, params, mel, part, remat="none"):
    with (
        patchout(part, model.encoder, KEY),
        layers(remat, model.encoder.layer_names),
    ):
        return model.apply({"params": params}, mel)


@pytest.mark.parametrize("name", ["tiny_fpasst", "tiny_asit"])
def test_a_model_does_not_hear_what_is_left_out(name):
    model, params = model_and_params(name)
    mel = jax.random.normal(KEY, (2, FRAMES, 128))
    both = jax.jit(lambda p, x: [heard(model, p, x, part) for part in (0.0, 0.3)])
    (whole_logits, whole), (logits, out) = both(params, mel)
    grid = model.encoder.grid
    n_steps = grid.n_steps(FRAMES)
    for found, n_seen in ((whole, n_steps), (out, n_steps - int(0.3 * n_steps))):
        assert found["block_0"].shape[1] == grid.prefix + n_seen * grid.rows
    assert logits.shape == whole_logits.shape
    # The mean over time is that of what is heard.
    frames = np.asarray(out["frames"])[0, grid.prefix * grid.keeps_prefix :]
    values, times = np.unique(frames.round(5), axis=0, return_counts=True)
    assert times.max() == int(0.3 * n_steps)
    filled_in = values[times == times.max()]  # one for each row of the grid
    np.testing.assert_allclose(frames.mean(axis=0), filled_in.mean(axis=0), atol=1e-4)
    assert not np.allclose(out["clip_logits"], whole["clip_logits"], atol=1e-6)


def test_of_clips_that_are_filled_up_steps_of_padding_are_left_out_as_well():
    model = sed.build("tiny_ast_s16", 4, head="tokens")
    mel = jax.ShapeDtypeStruct((2, FRAMES, 128), jnp.float32)
    params = jax.eval_shape(lambda key: init_params(model, key), KEY)
    for part, columns in ((0.0, 64), (0.3, 64 - 19)):
        shapes = jax.eval_shape(lambda p, x, n=part: heard(model, p, x, n), params, mel)
        assert shapes[1]["block_0"].shape[1] == 2 + 8 * columns
        assert shapes[0].shape == (2, FRAMES // 4 + 1, 4)


def test_gradients_are_those_of_what_is_heard_and_layers_may_be_computed_twice():
    model, params = model_and_params("tiny_fpasst")
    mel = jax.random.normal(KEY, (1, FRAMES, 128))

    def total(params, remat):
        return heard(model, params, mel, 0.3, remat)[1]["clip_logits"].sum()

    gradient = jax.jit(jax.grad(total), static_argnums=1)
    once, twice = gradient(params, "none"), gradient(params, "blocks")
    for one, other in zip(jax.tree.leaves(once), jax.tree.leaves(twice)):
        np.testing.assert_allclose(one, other, atol=1e-5)
    positions = np.asarray(once["encoder"]["embed"]["time_positions"])[: FRAMES // 4]
    assert (np.abs(positions).max(axis=1) == 0).sum() == 15


@pytest.mark.parametrize(
    ("part", "message"),
    [(0.3, "cannot do without some of its tokens"), (1.0, "patchout=1.0: expected")],
)
def test_what_cannot_be_done_is_refused(part, message):
    encoder = sed.build("tiny_beats", 2).encoder
    with pytest.raises(InputError, match=message), patchout(part, encoder, KEY):
        pass
