"""The chunked state space against its recurrence, one frame after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.mamba import CausalConvolution, MambaMixer, selective_scan
from jaxsed.models.sequence import SequenceModel
from tests.test_models import drawn


def recurrence(values, steps, rates, keys, queries):
    """Equation (1) of Mamba 2 with its zero-order hold, by a plain scan."""

    def step(state, now):
        value, step, key, query = now
        state = jnp.exp(rates * step)[..., None, None] * state
        added = jnp.einsum("bh,bn,bhp->bhnp", step, key, value)
        return state + added, jnp.einsum("bn,bhnp->bhp", query, state + added)

    n_clips, _, heads, features = values.shape
    zeros = jnp.zeros((n_clips, heads, keys.shape[-1], features), values.dtype)
    over_time = [x.swapaxes(0, 1) for x in (values, steps, keys, queries)]
    _, out = jax.lax.scan(step, zeros, tuple(over_time))
    return out.swapaxes(0, 1)


def operands(n_frames, dtype="float64", step=0.1, n_clips=2):
    rng = np.random.default_rng(n_frames)
    heads, features, states = 3, 4, 5
    values = rng.normal(size=(n_clips, n_frames, heads, features))
    steps = step * np.exp(rng.normal(size=(n_clips, n_frames, heads)))
    rates = -rng.uniform(1, 16, heads)
    keys, queries = rng.normal(size=(2, n_clips, n_frames, states))
    return [jnp.asarray(x, dtype) for x in (values, steps, rates, keys, queries)]


@pytest.mark.parametrize("n_frames", [1, 63, 64, 65, 250, 700])
@pytest.mark.parametrize("step", [1e-3, 0.1, 3.0])
def test_scan_is_the_recurrence(n_frames, step):
    with jax.enable_x64(True):
        given = operands(n_frames, step=step)
        expected = jax.jit(recurrence)(*given)
        scanned = jax.jit(selective_scan)(*given)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(scanned, expected, atol=1e-12 * scale)


def test_gradients_are_those_of_the_recurrence():
    with jax.enable_x64(True):
        given = operands(150)
        weight = jax.random.normal(jax.random.key(0), given[0].shape, jnp.float64)
        ours, theirs = (
            jax.jit(jax.grad(lambda *x, f=f: jnp.sum(f(*x) * weight), tuple(range(5))))(
                *given
            )
            for f in (selective_scan, recurrence)
        )
        for our, their in zip(ours, theirs):
            np.testing.assert_allclose(our, their, atol=1e-11 * np.abs(their).max())


@pytest.mark.parametrize("step", [1e-4, 0.01, 10.0])
def test_float32_is_stable_over_three_minutes(step):
    with jax.enable_x64(True):
        exact = jax.jit(recurrence)(*operands(5000, step=step, n_clips=1))
    given = operands(5000, "float32", step, n_clips=1)
    scanned = jax.jit(selective_scan)(*given)
    assert scanned.dtype == jnp.float32
    np.testing.assert_allclose(scanned, exact, atol=1e-5 * np.abs(exact).max())
    gradient = jax.jit(jax.grad(lambda *x: jnp.sum(selective_scan(*x)), (0, 1, 2)))
    for values in gradient(*given):
        assert np.isfinite(values).all()


def test_convolution_looks_back_three_frames():
    module = CausalConvolution("float32")
    frames = np.random.default_rng(0).normal(size=(1, 6, 2)).astype(np.float32)
    params = drawn.params_for(module, frames)
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    padded = np.pad(frames[0], ((2, 0), (0, 0)))
    expected = [(padded[t : t + 3] * kernel).sum(axis=0) + bias for t in range(6)]
    np.testing.assert_allclose(module.apply(params, frames)[0], expected, atol=1e-6)


def test_no_frame_depends_on_later_ones():
    model = SequenceModel("mamba", width=32, layers=2, dtype="float32")
    frames = np.random.default_rng(0).normal(size=(1, 130, 16)).astype(np.float32)
    params = drawn.params_for(model, frames)
    changed = frames.copy()
    changed[0, 70] += 1
    apply = jax.jit(model.apply)
    moved = np.abs(apply(params, changed) - apply(params, frames))[0]
    assert not moved[:70].any() and (moved[70:75].max(axis=-1) > 0).all()


def test_long_clips_take_memory_in_proportion():
    """States of all frames would take 5000 * 8 * 64 * 64 floats, 655 MB."""
    model = SequenceModel("mamba", width=256, layers=1, dtype="float32")
    frames = jax.ShapeDtypeStruct((1, 5000, 256), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), frames)
    compiled = jax.jit(model.apply).lower(params, frames).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 200e6


def test_parameters_start_as_the_originals():
    mixer = MambaMixer(128, 256, "float32")
    params = jax.jit(mixer.init)(jax.random.key(0), jnp.zeros((1, 3, 128)))["params"]
    steps = np.logaddexp(0, params["dt_bias"])
    assert 1e-3 <= steps.min() < 2e-3 and 5e-2 < steps.max() <= 0.1001
    rates = np.exp(params["A_log"])
    assert 1 <= rates.min() < 2 and 15 < rates.max() <= 16
    assert (params["D"] == 1).all()
    bounds = {"in_proj": 128, "conv": 3, "out_proj": 256}
    for name, fan_in in bounds.items():
        for values in params[name].values():
            bound = fan_in**-0.5
            assert 0.95 * bound < np.abs(values).max() <= bound
