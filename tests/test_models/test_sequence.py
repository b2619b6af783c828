"""All sequence models by name: against the originals, and on padded clips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models.sequence import KINDS, SequenceModel
from tests import goldens
from tests.test_models import drawn, efficient_sed, teachers

ATST = goldens.load("ATST-F")


def test_teachers_head_is_the_original(atst_frame_aligned):
    tolerance = teachers.TOLERANCE[atst_frame_aligned.dtype.name]
    goldens.assert_close(ATST, "net_seq250", atst_frame_aligned, tolerance)
    teachers.assert_close(ATST, "ATST-F_rnn", atst_frame_aligned)


def test_bilstm_is_the_original(atst_frame_aligned):
    teachers.assert_close(
        ATST, "ATST-F_bilstm256", atst_frame_aligned, prefix="net_bilstm_"
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["attention", "transformer", "mamba"])
def test_other_kinds_are_the_originals(kind, dtype):
    golden = goldens.load("sequence")
    with jax.enable_x64(dtype == "float64"):
        params = jax.tree.map(
            lambda x: jnp.asarray(x, dtype), efficient_sed.params(kind)
        )
        model = SequenceModel(kind, width=128, layers=2, dtype=dtype)
        frames = jnp.asarray(efficient_sed.frames(), dtype)
        sequence = jax.jit(model.apply)({"params": params}, frames)
        goldens.assert_close(golden, kind, sequence, teachers.TOLERANCE[dtype])


@pytest.mark.parametrize("kind", KINDS)
def test_padded_clips_give_what_each_gives_alone(kind):
    model = SequenceModel(kind, width=32, layers=2, dtype="float32")
    n_frames = np.array([150, 67, 1])
    frames = np.random.default_rng(0).normal(size=(3, 150, 24)).astype(np.float32)
    params = drawn.params_for(model, frames)
    apply = jax.jit(model.apply)
    padded = apply(params, frames, n_frames)
    assert np.isfinite(padded).all()
    for clip, length in enumerate(n_frames):
        alone = apply(params, frames[clip : clip + 1, :length])[0]
        np.testing.assert_allclose(padded[clip, :length], alone, atol=3e-5)
    unpadded = apply(params, frames)
    np.testing.assert_allclose(padded[0], unpadded[0], atol=1e-6)
    if kind != "mamba":  # which is causal
        assert np.abs(padded[1, :67] - unpadded[1, :67]).max() > 1e-2


@pytest.mark.parametrize("kind", KINDS)
def test_padding_gets_no_gradient(kind):
    model = SequenceModel(kind, width=32, layers=2, dtype="float32")
    frames = np.random.default_rng(0).normal(size=(1, 12, 24)).astype(np.float32)
    params = drawn.params_for(model, frames)

    def total(frames):
        return jnp.sum(model.apply(params, frames, jnp.array([7]))[:, :7] ** 2)

    gradient = np.abs(jax.jit(jax.grad(total))(frames))[0]
    assert np.isfinite(gradient).all() and not gradient[7:].any()
    assert (gradient[:7].max(axis=-1) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_width_of_the_output_and_of_the_first_layer(kind):
    recurrent = kind in ("bigru", "bilstm")
    model = SequenceModel(kind, width=32, layers=1, dtype="float32")
    for features in (32, 20):
        frames = jnp.zeros((1, 5, features))
        sequence, variables = jax.eval_shape(
            model.init_with_output, jax.random.key(0), frames
        )
        assert sequence.shape == (1, 5, 64 if recurrent else 32)
        assert ("embed" in variables["params"]) == (not recurrent and features != 32)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_close_to_float32(kind):
    half, full = (
        SequenceModel(kind, width=32, layers=1, dtype=dtype)
        for dtype in ("bfloat16", "float32")
    )
    frames = np.random.default_rng(0).normal(size=(2, 250, 16)).astype(np.float32)
    params = drawn.params_for(half, frames)
    sequence = jax.jit(half.apply)(params, frames)
    assert sequence.dtype == jnp.bfloat16
    exact = np.asarray(jax.jit(full.apply)(params, frames))
    error = sequence.astype(np.float32) - exact
    assert np.std(error) < 0.02 * np.std(exact)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_needs_a_key(kind):
    layers = 2 if kind in ("bigru", "bilstm") else 1  # between them, or inside
    frames = np.random.default_rng(0).normal(size=(2, 20, 32)).astype(np.float32)
    model = SequenceModel(kind, 32, layers, "float32")
    params = drawn.params_for(model, frames)
    evaluated = jax.jit(model.apply)(params, frames)

    def trained(dropout):
        model = SequenceModel(kind, 32, layers, "float32", dropout=dropout)
        return model.apply(params, frames, rngs={"dropout": jax.random.key(1)})

    trained = jax.jit(trained, static_argnums=0)
    assert np.abs(trained(0.5) - evaluated).max() > 1e-3
    # Without being asked, only the transformer drops.
    drops = np.abs(trained(None) - evaluated).max() > 1e-3
    assert drops == (kind == "transformer")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gru"}, "bigru"),
        ({"kind": "attention", "width": 20}, "width is 20; expected a multiple of 8"),
        ({"kind": "transformer", "heads": 5}, "a multiple of 10, for 5 heads"),
        ({"kind": "mamba", "heads": 7}, "does not divide into 7 heads"),
        ({"kind": "mamba", "width": 200}, "Choose a multiple of 32"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    model = SequenceModel(**({"width": 32, "layers": 1, "dtype": "float32"} | options))
    with pytest.raises(InputError, match=message):
        model.init(jax.random.key(0), jnp.zeros((1, 4, 16)))
