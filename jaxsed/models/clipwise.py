"""Runs a function on each device's own clips.

The compiler splits operations over devices by itself, but not kernels. It has to be
told how, for which the mesh has to be known where a model is traced: whoever traces it
names the mesh by `jax.sharding.use_abstract_mesh`.
"""

from collections.abc import Callable, Collection

import jax
from jax.sharding import AbstractMesh, PartitionSpec

Arrays = dict[str, jax.Array]


def can_split(n_clips: int) -> bool:
    """Whether the mesh is known, and its devices can share so many clips equally."""
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and n_clips % mesh.size == 0


def clipwise(
    function: Callable[[Arrays], Arrays],
    arrays: Arrays,
    mesh: AbstractMesh,
    whole: Collection[str] = (),
    summed: Collection[str] = (),
) -> Arrays:
    """Runs a function that treats clips alike, each device on its own.

    Args:
        function: Arrays by name -> arrays by name; the first axis of all is that of
            clips, but for those named below.
        arrays: What it is called with.
        mesh: Of `jax.sharding.get_abstract_mesh` in the forward pass: a backward pass
            is traced later. Clips are split over all its axes; an empty one splits
            nothing.
        whole: Names of arrays that all devices read whole.
        summed: Names of results that are sums over clips.

    Returns:
        What the function gives for all clips.
    """
    if mesh.empty:
        return function(arrays)
    axes = mesh.axis_names
    by_clip, everywhere = PartitionSpec(axes), PartitionSpec()

    def of_own_clips(arrays):
        found = function(arrays)
        for name in found.keys() & summed:
            found[name] = jax.lax.psum(found[name], axes)
        return found

    results = jax.eval_shape(function, arrays)
    return jax.shard_map(
        of_own_clips,
        mesh=mesh,
        in_specs=({n: everywhere if n in whole else by_clip for n in arrays},),
        out_specs={n: everywhere if n in summed else by_clip for n in results},
        check_vma=False,  # of what a kernel gives, nothing is known
    )(arrays)
