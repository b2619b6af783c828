import contextlib
import resource
import shutil
from contextlib import closing

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsed.errors import InputError
from jaxsed.training import sharding
from jaxsed.training import state as train_state
from jaxsed.training.checkpoints import Checkpoints
from tests.test_training import toy


def train(mesh, state, train_step, batches, until):
    while int(state.step) < until:
        batch = sharding.put_batch(next(batches), mesh)
        state, _ = train_step(state, batch, jax.random.key(0))
    return state


def test_restored_run_goes_on_bit_for_bit(tmp_path):
    mesh = sharding.make_mesh()
    state, abstract, shardings, train_step = toy.build(mesh)
    batches = toy.batches()
    checkpoints = Checkpoints(tmp_path)
    state = train(mesh, state, train_step, batches, 3)
    checkpoints.save(state, batches)
    checkpoints.close()
    expected = train(mesh, state, train_step, batches, 7)

    again, fresh = Checkpoints(tmp_path), toy.batches()
    assert again.latest_step == 3
    restored = again.restore(abstract, shardings, fresh)
    resumed = train(mesh, restored, train_step, fresh, 7)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(resumed)):
        np.testing.assert_array_equal(a, b)


def test_keeps_two(tmp_path):
    mesh = sharding.make_mesh()
    state, _, _, train_step = toy.build(mesh)
    batches, checkpoints = toy.batches(), Checkpoints(tmp_path)
    for until in (1, 2, 3):
        state = train(mesh, state, train_step, batches, until)
        checkpoints.save(state, batches)
    checkpoints.close()
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["2", "3"]


def test_another_model_is_refused(tmp_path):
    mesh = sharding.make_mesh()
    state, abstract, shardings, _ = toy.build(mesh)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, toy.batches())
    checkpoints.close()
    wrong = abstract.replace(params={"w": jax.ShapeDtypeStruct((5,), jnp.float32)})
    with pytest.raises(InputError, match="does not fit this config"):
        Checkpoints(tmp_path).restore(wrong, shardings, toy.batches())


LARGE = {"kernel": (256, 512), "bias": (512,)}


def large_state(mesh, fill=1.0, optimizer=None):
    """A state whose arrays are worth splitting, its shapes and its shardings."""
    optimizer = optimizer or optax.adam(0.1)
    params = {name: np.full(shape, fill, np.float32) for name, shape in LARGE.items()}
    first = train_state.create(params, optimizer)
    abstract = jax.eval_shape(lambda: first)
    shardings = sharding.state_sharding(mesh, abstract)
    return jax.device_put(first, shardings), abstract, shardings


@pytest.mark.parametrize("wide, narrow", [((1, 8), (8, 1)), ((8, 1), (2, 4))])
def test_arrays_are_laid_out_anew_on_another_mesh(tmp_path, wide, narrow):
    state, _, _ = large_state(sharding.make_mesh(*wide))
    with closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(state.replace(step=state.step + 7), toy.batches())
    _, abstract, shardings = large_state(sharding.make_mesh(*narrow))
    restored = Checkpoints(tmp_path).restore(abstract, shardings, toy.batches())
    assert int(restored.step) == 7
    kernel = restored.opt_state[0].mu["kernel"]
    assert kernel.sharding == shardings.opt_state[0].mu["kernel"]
    np.testing.assert_array_equal(restored.params["kernel"], 1.0)


def test_a_place_is_for_any_number_of_processes(tmp_path):
    state, abstract, shardings = large_state(sharding.make_mesh())
    batches = toy.batches()
    for _ in range(3):
        expected = next(batches)
    with closing(Checkpoints(tmp_path)) as checkpoints:
        batches_before = toy.batches()
        for _ in range(2):
            next(batches_before)
        checkpoints.save(state.replace(step=state.step + 2), batches_before)
    # Nothing there says how many processes there were.
    assert not list((tmp_path / "2" / "place").glob("process_*"))
    batches = toy.batches()
    Checkpoints(tmp_path).restore(abstract, shardings, batches)
    np.testing.assert_array_equal(next(batches)["features"], expected["features"])


@contextlib.contextmanager
def full_disk(n_bytes):
    """No file may grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# Writers that TensorStore has not given up on find their event loop gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(tmp_path):
    mesh = sharding.make_mesh()
    state, abstract, shardings = large_state(mesh)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state.replace(step=state.step + 1), toy.batches())
    checkpoints.wait()
    rng = np.random.default_rng(0)  # what does not compress
    noise = jax.tree.map(lambda p: rng.random(p.shape, np.float32), state.params)
    with (
        full_disk(50_000),
        pytest.raises(InputError, match=r"could not be written .*goes on from step 1"),
    ):
        checkpoints.save(
            state.replace(step=state.step + 2, params=noise), toy.batches()
        )
        checkpoints.wait()
    again = Checkpoints(tmp_path)
    assert again.latest_step == 1
    restored = again.restore(abstract, shardings, toy.batches())
    np.testing.assert_array_equal(restored.params["kernel"], 1.0)


@pytest.mark.parametrize("broken", ["state", "place"])
def test_an_unreadable_checkpoint_is_named_and_the_way_back(tmp_path, broken):
    state, abstract, shardings = large_state(sharding.make_mesh())
    with closing(Checkpoints(tmp_path)) as checkpoints:
        for step in (1, 2):
            checkpoints.save(state.replace(step=state.step + step), toy.batches())
    for file in (tmp_path / "2" / broken).rglob("*"):
        if file.is_file():
            file.write_bytes(b"\x00" * (file.stat().st_size // 2))
    with pytest.raises(InputError, match=r"2 cannot be read .*to go on from step 1"):
        Checkpoints(tmp_path).restore(abstract, shardings, toy.batches())
    shutil.rmtree(tmp_path / "2")
    restored = Checkpoints(tmp_path).restore(abstract, shardings, toy.batches())
    assert int(restored.step) == 1
