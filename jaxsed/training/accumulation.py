"""A large batch in parts, one after another: the memory of a part, the mean of all."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsed.training import sharding

Batch = dict[str, jax.Array]


def mean_over_parts(
    function: Callable[[Batch, jax.Array], Any],
    batch: Batch,
    key: jax.Array,
    n_parts: int,
    mesh: Mesh,
) -> Any:
    """Returns the mean of what `function(part, key)` gives for the parts of a batch.

    Part p holds every `n_parts`-th example from p on. So every device finds its share
    of each part among the examples that it holds anyway, and which examples share a
    part does not depend on the devices.

    Where `function` is a mean over examples, the mean over parts is that of the whole
    batch but for rounding. It is not where an example depends on others or on its place:
    batch statistics are those of a part, dropout draws anew for each part.

    Args:
        function: maps a part and its key to a tree of float arrays.
        batch: arrays `[b, ...]`.
        key: of the batch; parts get keys folded from it.
        n_parts: divides the examples that a device holds.
        mesh: devices that share the batch.
    """
    if n_parts == 1:
        return function(batch, key)
    rows = NamedSharding(mesh, PartitionSpec(sharding.BATCH_AXES))

    def split(array: jax.Array) -> jax.Array:
        columns = array.reshape(-1, n_parts, *array.shape[1:])
        return jax.lax.with_sharding_constraint(columns, rows)

    def part(columns: Batch, number: jax.Array | int) -> Batch:
        chosen = {
            name: jax.lax.dynamic_index_in_dim(array, number, axis=1, keepdims=False)
            for name, array in columns.items()
        }
        return jax.lax.with_sharding_constraint(chosen, rows)

    columns = {name: split(array) for name, array in batch.items()}
    shapes = jax.eval_shape(lambda: function(part(columns, 0), key))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total: Any, number: jax.Array):
        found = function(part(columns, number), jax.random.fold_in(key, number))
        return jax.tree.map(jnp.add, total, found), None

    total, _ = jax.lax.scan(add, zeros, jnp.arange(n_parts))
    return jax.tree.map(lambda leaf: leaf / n_parts, total)
