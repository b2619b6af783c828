import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxsed import optim
from jaxsed.errors import InputError
from jaxsed.training import sharding
from jaxsed.training.state import create


def test_mesh_takes_what_fsdp_leaves():
    mesh = sharding.make_mesh(data=-1, fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4}


def test_fsdp_takes_what_data_leaves():
    mesh = sharding.make_mesh(data=1, fsdp=-1)
    assert dict(mesh.shape) == {"data": 1, "fsdp": 8}


@pytest.mark.parametrize("data, fsdp", [(3, 1), (-1, 3), (8, 2), (0, 1), (-1, -1)])
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


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"name": "sgd"},
        {"name": "adamw", "weight_decay": 0.1, "layer_decay": 0.5},
        {"frozen": ("^encoder/block_0/",), "clip_norm": 1.0},
    ],
)
def test_moments_lie_where_their_parameters_do(settings):
    kernel = jax.ShapeDtypeStruct((256, 1024), jnp.float32)
    statistics = {"mean": jax.ShapeDtypeStruct((1024,), jnp.float32)}
    block = {"kernel": kernel, "norm": statistics}
    params = {"encoder": {"block_0": block, "block_1": block}, "head": {"w": kernel}}
    optimizer, _ = optim.build_optimizer(settings, params, 10, ("block_0", "block_1"))
    abstract = jax.eval_shape(functools.partial(create, optimizer=optimizer), params)
    shardings = sharding.state_sharding(sharding.make_mesh(fsdp=4), abstract)
    found = [
        (leaf.shape, where.spec)
        for leaf, where in zip(
            jax.tree.leaves(abstract), jax.tree.leaves(shardings), strict=True
        )
    ]
    split = [shape for shape, spec in found if "fsdp" in spec]
    trained = 2 if "frozen" in settings else 3
    moments = 1 if settings.get("name") == "sgd" else 2
    assert split == [(256, 1024)] * (3 + trained * moments)
    assert all(np.prod(shape) <= 1024 for shape, spec in found if "fsdp" not in spec)


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


def test_batch_size_must_be_shared_equally_in_parts():
    mesh = sharding.make_mesh()
    sharding.check_batch_size(32, mesh, accumulate=4)
    with pytest.raises(
        InputError, match=r"batch_size=16 .* in 4 parts: use a multiple of 32"
    ):
        sharding.check_batch_size(16, mesh, accumulate=4)
    with pytest.raises(InputError, match="accumulate=0"):
        sharding.check_batch_size(16, mesh, accumulate=0)
