import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsed.models.batch_norm import BatchNorm
from jaxsed.training import sharding, step
from jaxsed.training import state as train_state
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


NORM = BatchNorm(momentum=0.1)


def normalised_loss(params, batch, key):
    """Regression on normalised features: a loss with running statistics."""
    features, recorded = NORM.apply(
        {"params": params["norm"]}, batch["features"], mutable=["updates"]
    )
    error = features @ params["w"] - batch["target"]
    return jnp.mean(error**2), {}, {"norm": recorded["updates"]}


def run_normalised(mesh, steps=3, loss_fn=normalised_loss):
    """Parameters after so many steps, and those before."""
    params = NORM.init(jax.random.key(0), jnp.zeros((1, 4)))["params"]
    params = {"norm": jax.tree.map(np.asarray, params), "w": np.ones(4, np.float32)}
    optimizer = optax.adamw(0.1, weight_decay=0.5)
    first = train_state.create(params, optimizer)
    shardings = sharding.state_sharding(mesh, first)
    train_step = step.make_train_step(
        loss_fn, optimizer, lambda count: 0.1, mesh, shardings
    )
    state, batches = jax.device_put(first, shardings), toy.batches()
    for _ in range(steps):
        batch = sharding.put_batch(next(batches), mesh)
        state, _ = train_step(state, batch, jax.random.key(0))
    return jax.device_get(state.params), params


def test_updates_replace_parameters_whatever_the_optimiser_did_to_them():
    after, before = run_normalised(sharding.make_mesh(), steps=2)
    mean, var = before["norm"]["mean"], before["norm"]["var"]
    batches = toy.batches()
    for _ in range(2):
        rows = next(batches)["features"].astype(np.float64)
        mean = 0.9 * mean + 0.1 * rows.mean(0)
        var = 0.9 * var + 0.1 * rows.var(0, ddof=1)
    np.testing.assert_allclose(after["norm"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(after["norm"]["var"], var, rtol=1e-5)
    # What was not recorded is the optimiser's.
    assert np.all(np.abs(after["w"] - before["w"]) > 0.05)
    assert np.any(after["norm"]["scale"] != before["norm"]["scale"])


def test_recorded_statistics_are_those_of_the_global_batch():
    one = jax.make_mesh(
        (1, 1),
        sharding.BATCH_AXES,
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=jax.devices()[:1],
    )
    alone, _ = run_normalised(one)
    for mesh in (sharding.make_mesh(), sharding.make_mesh(fsdp=4)):
        shared, _ = run_normalised(mesh)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), alone, shared
        )


def test_without_updates_the_optimiser_alone_moves_parameters():
    def silent(params, batch, key):
        return normalised_loss(params, batch, key)[:2]

    after, before = run_normalised(sharding.make_mesh(), 1, silent)
    # No gradient: this optimiser, which was told nothing of them, decays them.
    np.testing.assert_allclose(after["norm"]["var"], 0.95 * before["norm"]["var"])
