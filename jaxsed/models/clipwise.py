"""Runs a function on each device's own clips.

The compiler splits operations over devices by itself, but no kernels: handed one, it
would have every device compute all clips.
"""

import functools
from collections.abc import Callable, Collection, Hashable

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

Arrays = dict[str, jax.Array]


def clipwise(
    function: Callable[[Arrays, Hashable], Arrays],
    whole: Collection[str] = (),
    summed: Collection[str] = (),
) -> Callable[[Arrays, Hashable], Arrays]:
    """Wraps a function that treats clips alike, so that each device takes its own.

    Args:
        function: Arrays by name and options -> arrays by name; the first axis of all is
            that of clips, but for those named below.
        whole: Names of arrays that all devices read whole.
        summed: Names of results that are sums over clips.

    Returns:
        The same function, of arrays that may be split over devices by clips.
    """

    @functools.partial(custom_partitioning, static_argnums=(1,))
    def call(arrays, options):
        return function(arrays, options)

    def partition(options, mesh, arguments, results):
        (arguments,) = arguments
        axes = next(
            array.sharding.spec[0] if len(array.sharding.spec) else None
            for name, array in sorted(arguments.items())
            if name not in whole
        )

        def sharding(name):
            split = name not in whole and name not in summed
            return NamedSharding(mesh, PartitionSpec(axes if split else None))

        def of_own_clips(arrays):
            found = function(arrays, options)
            for name in summed:
                if name in found and axes is not None:
                    found[name] = jax.lax.psum(found[name], axes)
            return found

        return (
            mesh,
            of_own_clips,
            {name: sharding(name) for name in results},
            ({name: sharding(name) for name in arguments},),
        )

    def wrapped(arrays: Arrays, options: Hashable) -> Arrays:
        results = jax.eval_shape(lambda arrays: function(arrays, options), arrays)
        left = _rule(arrays, whole, "i")
        right = _rule(results, summed, "o")
        call.def_partition(partition=partition, sharding_rule=f"{left} -> {right}")
        return call(arrays, options)

    return wrapped


def _rule(arrays, undivided, prefix):
    """One letter for clips, which may be split, and a name of its own for each axis."""
    terms = []
    for index, (name, array) in enumerate(sorted(arrays.items())):
        axes = [f"{prefix}{index}x{axis}" for axis in range(len(array.shape))]
        terms.append(" ".join(axes if name in undivided else ["b", *axes[1:]]))
    return ", ".join(terms)
