"""Recurrent layers against PyTorch's equations, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import recurrent
from jaxsed.models.recurrent import GATES
from jaxsed.models.sequence import SequenceModel
from tests.test_models import drawn


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_step(state, driven, recurrent):
    """PyTorch's documentation of `nn.GRU`, one clip."""
    (dr, dz, dn), (rr, rz, rn) = np.split(driven, 3), np.split(recurrent, 3)
    reset, update = sigmoid(dr + rr), sigmoid(dz + rz)
    return ((1 - update) * np.tanh(dn + reset * rn) + update * state[0],)


def lstm_step(state, driven, recurrent):
    """PyTorch's documentation of `nn.LSTM`, one clip."""
    i, f, g, o = np.split(driven + recurrent, 4)
    cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(cell), cell


def run_direction(step, frames, params, direction):
    parts = ("input_kernel", "input_bias", "hidden_kernel", "hidden_bias")
    w_in, b_in, w_hid, b_hid = (np.asarray(params[name][direction]) for name in parts)
    order = frames if direction == 0 else frames[::-1]
    state, states = (np.zeros(w_hid.shape[0]),) * 2, []
    for frame in order:
        state = step(state, frame @ w_in + b_in, state[0] @ w_hid + b_hid)
        states.append(state[0])
    return np.array(states if direction == 0 else states[::-1])


@pytest.mark.parametrize(("kind", "step"), [("bigru", gru_step), ("bilstm", lstm_step)])
def test_layers_are_pytorchs_equations(kind, step):
    with jax.enable_x64(True):
        frames = jnp.asarray(np.random.default_rng(1).normal(size=(3, 11, 5)))
        model = SequenceModel(kind, width=4, layers=2, dtype="float64")
        variables = drawn.params_for(model, frames)
        states = jax.jit(model.apply)(variables, frames)
        params, expected = variables["params"], np.asarray(frames)
        for index in range(2):
            layer = params[f"layer_{index}"]
            expected = np.stack(
                [
                    np.hstack([run_direction(step, clip, layer, z) for z in (0, 1)])
                    for clip in expected
                ]
            )
        if kind == "bilstm":
            last = params["embedding"]
            expected = expected @ last["kernel"] + last["bias"]
        np.testing.assert_allclose(states, expected, atol=1e-12)


@pytest.mark.parametrize(("kind", "gates"), [("bigru", 3), ("bilstm", 4)])
def test_parameters_start_uniform_in_the_state_size(kind, gates):
    model = SequenceModel(kind, width=64, layers=2, dtype="float32")
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 3, 10)))["params"]
    shapes = jax.tree.map(jnp.shape, params["layer_1"])
    assert shapes == {
        "input_kernel": (2, 128, gates * 64),
        "hidden_kernel": (2, 64, gates * 64),
        "input_bias": (2, gates * 64),
        "hidden_bias": (2, gates * 64),
    }
    for values in jax.tree.leaves(params["layer_0"]):
        assert np.abs(values).max() <= 64**-0.5 and np.std(values) > 0.05
    assert ("embedding" in params) == (kind == "bilstm")


@pytest.mark.parametrize("kind", ["bigru", "bilstm"])
def test_both_directions_see_the_whole_clip(kind):
    model = SequenceModel(kind, width=6, layers=1, dtype="float32")
    frames = jax.random.normal(jax.random.key(0), (1, 20, 4))
    params = drawn.params_for(model, frames)
    changed = frames.at[0, 10].add(1.0)
    moved = np.abs(model.apply(params, changed) - model.apply(params, frames))[0]
    assert (moved.max(axis=-1) > 0).all()
    if kind == "bigru":  # without a dense layer behind it the halves stay apart
        assert not moved[:10, :6].any() and not moved[11:, 6:].any()


def test_bfloat16_keeps_its_state_in_float32():
    model = SequenceModel("bigru", width=32, layers=1, dtype="bfloat16")
    full = SequenceModel("bigru", width=32, layers=1, dtype="float32")
    frames = jax.random.normal(jax.random.key(0), (2, 250, 16))
    params = drawn.params_for(model, frames)
    states = model.apply(params, frames)
    assert states.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        states.astype(np.float32), full.apply(params, frames), atol=0.03
    )


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("padded", [False, True])
def test_the_kernels_gradient_is_the_scans_own(kind, padded):
    width, n_frames, n_clips = 5, 7, 3
    keys = jax.random.split(jax.random.key(0), 3)
    kernel = jax.random.normal(keys[0], (2, width, GATES[kind] * width))
    driven = jax.random.normal(keys[1], (n_frames, 2, n_clips, 4 * width))
    weights = jax.random.normal(keys[2], (n_frames, 2, n_clips, width))
    inside = None
    if padded:
        inside = np.arange(n_frames)[:, None, None, None] < [[[7], [2], [4]]] * 2

    def gradients(states):
        def total(kernel, driven):
            out = states(kind, np.dtype("float32"), kernel, driven, inside)
            return jnp.sum(weights * out)

        return jax.grad(total, argnums=(0, 1))(kernel, driven)

    ours, plain = gradients(recurrent._states), gradients(recurrent._states.fun)
    for found, expected in zip(ours, plain):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_in_bfloat16_the_kernels_gradient_is_summed_in_float32():
    keys = jax.random.split(jax.random.key(0), 2)
    frames = jax.random.normal(keys[0], (4, 250, 8))

    def kernel_gradient(dtype):
        layer = recurrent.BidirectionalLayer("bigru", 16, dtype)
        params = layer.init(keys[1], frames)["params"]

        def mean(kernel):
            out = layer.apply({"params": {**params, "hidden_kernel": kernel}}, frames)
            return jnp.mean(out.astype(jnp.float32))

        return jax.grad(mean)(params["hidden_kernel"])

    exact, rounded = kernel_gradient("float32"), kernel_gradient("bfloat16")
    # Measured 0.0012; added up in bfloat16 frame by frame it was 0.029.
    assert jnp.abs(rounded - exact).max() < 0.005 * jnp.abs(exact).max()
