import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxsed.errors import InputError
from jaxsed.training import sharding


def test_mesh_takes_what_fsdp_leaves():
    mesh = sharding.make_mesh(data=-1, fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4}


@pytest.mark.parametrize("data, fsdp", [(3, 1), (-1, 3), (8, 2), (0, 1)])
def test_mesh_refuses_a_wrong_number_of_devices(data, fsdp):
    with pytest.raises(InputError, match="8"):
        sharding.make_mesh(data, fsdp)


def test_long_axis_is_split_over_fsdp_and_small_arrays_are_not():
    mesh = sharding.make_mesh(fsdp=4)
    state = {
        "kernel": jax.ShapeDtypeStruct((256, 1024), jnp.float32),
        "odd": jax.ShapeDtypeStruct((257, 1021), jnp.float32),
        "bias": jax.ShapeDtypeStruct((64,), jnp.float32),
    }
    specs = jax.tree.map(lambda s: s.spec, sharding.state_sharding(mesh, state))
    assert specs["kernel"] == PartitionSpec(None, "fsdp")
    assert specs["odd"] == PartitionSpec(None, None)
    assert specs["bias"] == PartitionSpec(None)


def test_batch_is_split_over_all_devices():
    mesh = sharding.make_mesh(fsdp=2)
    batch = {"index": np.arange(16, dtype=np.int32)}
    placed = sharding.put_batch(batch, mesh)["index"]
    assert len(placed.addressable_shards) == 8
    assert all(shard.data.shape == (2,) for shard in placed.addressable_shards)
    np.testing.assert_array_equal(placed, batch["index"])


def test_batch_size_must_be_shared_equally():
    mesh = sharding.make_mesh()
    sharding.check_batch_size(16, mesh)
    with pytest.raises(InputError, match="batch_size=12"):
        sharding.check_batch_size(12, mesh)
    assert sharding.round_up_batch(12, mesh) == 16
