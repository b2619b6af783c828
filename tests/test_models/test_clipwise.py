import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxsed.models.clipwise import can_split, clipwise


def function(arrays):
    """Knows how many clips it sees; sums over them what has no clips."""
    scaled = arrays["rows"] * arrays["scale"]
    seen = jnp.full(len(scaled), len(scaled))
    return {"scaled": scaled, "seen": seen, "total": scaled.sum(0)}


ARRAYS = {"rows": jnp.arange(24.0).reshape(8, 3), "scale": jnp.array([1.0, 2, 3])}


def call(arrays):
    mesh = jax.sharding.get_abstract_mesh()
    return clipwise(function, arrays, mesh, whole=["scale"], summed=["total"])


def test_without_a_mesh_it_is_the_function():
    found, expected = call(ARRAYS), function(ARRAYS)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))
    assert not can_split(8)


@pytest.mark.skipif(jax.device_count() < 4, reason="needs several (fake) devices")
def test_on_a_mesh_each_device_sees_its_clips():
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "fsdp"))
    with jax.set_mesh(mesh):
        found = jax.jit(call)(ARRAYS)
        assert can_split(8) and not can_split(6)
    np.testing.assert_array_equal(found["scaled"], ARRAYS["rows"] * ARRAYS["scale"])
    np.testing.assert_array_equal(found["seen"], np.full(8, 2))
    np.testing.assert_array_equal(found["total"], found["scaled"].sum(0))
