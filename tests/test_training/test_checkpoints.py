import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.training import sharding
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


def test_restores_onto_another_mesh(tmp_path):
    mesh = sharding.make_mesh()
    state, abstract, _, _ = toy.build(mesh)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(state, toy.batches())
    checkpoints.close()
    other = sharding.make_mesh(fsdp=4)
    shardings = sharding.state_sharding(other, abstract)
    restored = Checkpoints(tmp_path).restore(abstract, shardings, toy.batches())
    assert restored.params["w"].sharding.mesh.shape == other.shape


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
