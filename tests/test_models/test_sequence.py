"""Recurrent layers: against equations written out in NumPy, and against the original.

The NumPy loop is small and exact in float64; the goldens hold the released key layout
(gate order, stacking of directions) and the size of the paper's teachers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import sed
from jaxsed.models.heads import LinearHead
from jaxsed.models.sequence import SequenceModel
from tests import goldens
from tests.test_models import drawn, parity

GOLDEN = goldens.load("ATST-F")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru_step(hidden, driven, kernel, bias):
    """PyTorch's documentation of `nn.GRU`, one clip."""
    recurrent = hidden @ kernel + bias
    (dr, dz, dn), (rr, rz, rn) = np.split(driven, 3), np.split(recurrent, 3)
    reset, update = sigmoid(dr + rr), sigmoid(dz + rz)
    return (1 - update) * np.tanh(dn + reset * rn) + update * hidden


def run_direction(frames, params, direction):
    parts = ("input_kernel", "input_bias", "hidden_kernel", "hidden_bias")
    w_in, b_in, w_hid, b_hid = (np.asarray(params[name][direction]) for name in parts)
    order = frames if direction == 0 else frames[::-1]
    hidden, states = np.zeros(w_hid.shape[0]), []
    for frame in order:
        hidden = gru_step(hidden, frame @ w_in + b_in, w_hid, b_hid)
        states.append(hidden)
    return np.array(states if direction == 0 else states[::-1])


def test_bigru_is_pytorchs_equations():
    with jax.enable_x64(True):
        frames = jnp.asarray(np.random.default_rng(1).normal(size=(3, 11, 5)))
        model = SequenceModel("bigru", width=4, layers=2, dtype="float64")
        variables = drawn.params_for(model, frames)
        states = jax.jit(model.apply)(variables, frames)
        expected = np.asarray(frames)
        for index in range(2):
            params = variables["params"][f"layer_{index}"]
            expected = np.stack(
                [
                    np.concatenate(
                        [run_direction(clip, params, z) for z in (0, 1)], axis=-1
                    )
                    for clip in expected
                ]
            )
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


@pytest.fixture(scope="module")
def teacher():
    """The paper's teacher: ATST-Frame and a BiGRU of 2 x 2048, on the synthetic mel."""
    params = parity.released_params("atst_frame", "ATST-F_rnn")
    model = sed.build("atst_frame", 447, sequence="bigru", sequence_width=2048)
    return jax.jit(model.apply)({"params": params}, parity.synthetic_mel("ATST-F"))


def test_teacher_is_the_original(teacher):
    logits, out = teacher
    goldens.assert_close(GOLDEN, "net_seq250", out["aligned"], atol=5e-5)
    goldens.assert_close(GOLDEN, "net_rnn_seq", out["sequence"], atol=5e-5)
    logits = logits.swapaxes(1, 2)
    goldens.assert_close(GOLDEN, "net_rnn_logits", logits, atol=5e-5)
    goldens.assert_close(GOLDEN, "net_rnn_weak", out["clip_logits"], atol=5e-5)


def test_bilstm_is_the_original(teacher):
    params = parity.released_params("atst_frame", "ATST-F_bilstm256")
    model = SequenceModel("bilstm", width=256, layers=2, dtype="float32")
    sequence = model.apply({"params": params["sequence"]}, teacher[1]["aligned"])
    head = LinearHead(447)
    logits = head.apply({"params": params["strong_head"]}, sequence).swapaxes(1, 2)
    clip = head.apply({"params": params["weak_head"]}, sequence.mean(axis=1))
    goldens.assert_close(GOLDEN, "net_bilstm_seq", sequence, atol=5e-5)
    goldens.assert_close(GOLDEN, "net_bilstm_logits", logits, atol=5e-5)
    goldens.assert_close(GOLDEN, "net_bilstm_weak", clip, atol=5e-5)
