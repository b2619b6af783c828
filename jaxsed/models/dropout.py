"""Which values dropout keeps, drawn by a hash of their positions.

A dozen instructions a value, where JAX's generator takes a hundred: on a TPU, drawing
BEATs' attention dropout by that takes longer than its attention. The draws are the same
on all devices, in a kernel and out of it, and however the values are split.
"""

import jax
import jax.numpy as jnp

Seeds = tuple[jax.Array, jax.Array]


def seeds(key: jax.Array, shape: tuple[int, ...] = ()) -> jax.Array:
    """Draws pairs of seeds for `keep`, int32 `[*shape, 2]`."""
    bits = jax.random.bits(key, (*shape, 2), jnp.uint32)
    return jax.lax.bitcast_convert_type(bits, jnp.int32)


def positions(shape: tuple[int, ...]) -> jax.Array:
    """Numbers the values of an array in the order of its axes, int32 `[*shape]`.

    Beyond 2^32 values numbers repeat.
    """
    total = jnp.zeros((1,) * len(shape), jnp.int32)
    stride = 1
    for axis in reversed(range(len(shape))):
        index = jax.lax.broadcasted_iota(jnp.int32, shape, axis)
        total = total + index * _wrapped(stride)
        stride *= shape[axis]
    return total


def keep(positions: jax.Array, seeds: Seeds, rate: float) -> jax.Array:
    """Draws which values are kept.

    The finaliser of Murmur3 (Appleby, `fmix32`) of each position plus the first seed,
    with the second one amid it, so that no two pairs of seeds give the same sequence.

    Args:
        positions: int32, different for all values of one pair of seeds.
        seeds: Two int32 that broadcast against them.
        rate: At which values are dropped, to 24 bits.

    Returns:
        bool, like `positions`.
    """
    mixed = _folded(positions + seeds[0], 16) * _wrapped(0x85EBCA6B)
    mixed = (_folded(mixed, 13) ^ seeds[1]) * _wrapped(0xC2B2AE35)
    mixed = jax.lax.shift_right_logical(_folded(mixed, 16), jnp.int32(8))
    return mixed >= jnp.int32(round(rate * 2**24))


def _folded(x, bits):
    return x ^ jax.lax.shift_right_logical(x, jnp.int32(bits))


def _wrapped(number: int):
    """The int32 with the bits of an unsigned number."""
    return jnp.int32((number + 2**31) % 2**32 - 2**31)
