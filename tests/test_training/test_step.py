import jax
import numpy as np

from jaxsed.training import sharding
from tests.test_training import toy


def run(mesh, steps, seed=0):
    state, _, _, train_step = toy.build(mesh)
    batches = toy.batches()
    for _ in range(steps):
        batch = sharding.put_batch(next(batches), mesh)
        state, measurements = train_step(state, batch, jax.random.key(seed))
    return state, measurements


def test_step_learns_and_reports():
    state, measurements = run(sharding.make_mesh(), 200)
    np.testing.assert_allclose(state.params["w"], toy.TRUTH, atol=0.02)
    assert int(state.step) == 200
    assert set(measurements) == {"bias", "loss", "grad_norm", "learning_rate"}


def test_every_mesh_computes_the_same():
    wide = run(sharding.make_mesh(), 20)[0].params["w"]
    split = run(sharding.make_mesh(fsdp=8), 20)[0].params["w"]
    np.testing.assert_allclose(wide, split, rtol=1e-5)


def test_randomness_is_a_function_of_seed_and_step():
    mesh = sharding.make_mesh()
    first, again, other = (run(mesh, 5, seed)[0].params["w"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(np.asarray(first) != np.asarray(other))


def test_state_is_donated():
    mesh = sharding.make_mesh()
    state, _, _, train_step = toy.build(mesh)
    batch = sharding.put_batch(next(toy.batches()), mesh)
    train_step(state, batch, jax.random.key(0))
    assert state.params["w"].is_deleted()
