"""Which patches of a spectrogram are hidden from a model that is to predict them.

SSAST hides 400 of 512 patches (Gong et al. 2022). Patches are numbered row
by row of the frequency axis, `row * n_steps + step`.

Kinds of masks:

* `released`: the original's generator (`gen_maskid_patch` in `src/models/ast_models.py`).
  Squares, whose side is drawn once a clip, begin at patches drawn one after another until
  more patches are covered than asked for; then the highest numbers are let off. What
  follows from how it counts: a square that leaves the last step goes on in the first
  steps of the next row; patch 0 is never hidden; the lowest rows are hidden less, because
  fewer squares reach them, and the last patches because of the cut.
* `clusters`: the same squares without the bias. They wrap around at the edges, each row
  and step on its own, and the last square is hidden in part, so that every patch is
  hidden equally often.
* `single`: patches one by one, the original's way for patches as high as the spectrogram
  (`gen_maskid_frame`), where squares made the model worse.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxsed.errors import InputError, check_known

KINDS = ("released", "clusters", "single")
SIDES = (3, 4, 5)  # of a square, in patches; `randrange(3) + 3` in the original
PART = 400 / 512  # of the patches is hidden

NEVER = jnp.iinfo(jnp.int32).max  # the turn of what is not drawn


def draw(
    keys: jax.Array,
    grid: tuple[int, int],
    part: float = PART,
    kind: str = "released",
    sides: Sequence[int] = SIDES,
) -> jax.Array:
    """Draws the hidden patches of clips, each from a key of its own.

    Args:
        keys: `[b]`.
        grid: rows and steps of patches.
        part: of the patches that is hidden.
        kind: of `KINDS`.
        sides: of squares, drawn from uniformly.

    Returns:
        int32 `[b, k]`, ascending numbers of patches.

    Raises:
        InputError: an unknown kind, an impossible part or side.
    """
    check_known("pretext.masks", kind, KINDS)
    if not sides or min(sides) < 1:
        raise InputError(
            f"pretext.sides={list(sides)}: expected sides of squares, 1 or more patches"
        )
    n_patches = grid[0] * grid[1]
    count = count_hidden(n_patches, part)

    def of_clip(key: jax.Array) -> jax.Array:
        side_key, order_key, tie_key = jax.random.split(key, 3)
        # The original draws beginnings with replacement. What is drawn again covers
        # nothing new, so only the order of first appearance counts: a permutation.
        order = jax.random.permutation(order_key, n_patches)
        if kind == "single":
            return numbers(order < count, count)
        side = jax.random.choice(side_key, jnp.asarray(sides))
        if kind == "released":
            return numbers(released_clusters(order, side, grid, count, sides), count)
        ties = jax.random.permutation(tie_key, n_patches)
        return numbers(even_clusters(order, ties, side, grid, count, sides), count)

    return jax.vmap(of_clip)(keys)


def count_hidden(n_patches: int, part: float) -> int:
    """Returns how many of so many patches are hidden: 400 of 512, 100 of 128.

    Raises:
        InputError: that leaves too little to see or nothing to predict. The original's
            generator cannot hide the last two patches.
    """
    count = round(part * n_patches)
    if not 1 <= count <= n_patches - 2:
        raise InputError(
            f"pretext.part={part} of {n_patches} patches are {count}: expected at least "
            f"1 and at most {n_patches - 2}"
        )
    return count


def released_clusters(
    order: jax.Array,
    side: jax.Array,
    grid: tuple[int, int],
    count: int,
    sides: Sequence[int] = SIDES,
) -> jax.Array:
    """Returns the patches that squares hide as the original counts them.

    Args:
        order: int `[rows * steps]`, the turn at which a square begins at a patch;
            `NEVER` where none does.
        side: of the squares.
        grid: rows and steps.
        count: how many patches to hide, at most all but two.
        sides: what `side` may be.

    Returns:
        bool `[rows * steps]`.
    """

    def moved(turn: jax.Array, by: int) -> jax.Array:
        return jnp.pad(turn, (by, 0), constant_values=NEVER)[: turn.size]

    turn = _earliest(order, side, sides, moved)
    turn = _earliest(turn, side, sides, lambda turn, i: moved(turn, grid[1] * i))
    turn = turn.at[0].set(NEVER)
    # Squares are drawn until *more* than `count` patches are covered.
    covered = turn <= jnp.sort(turn)[count]
    return covered & (jnp.cumsum(covered) <= count)


def even_clusters(
    order: jax.Array,
    ties: jax.Array,
    side: jax.Array,
    grid: tuple[int, int],
    count: int,
    sides: Sequence[int] = SIDES,
) -> jax.Array:
    """Returns the patches that squares hide, all equally often.

    Args:
        order: see `released_clusters`; a permutation.
        ties: int `[rows * steps]`, a permutation: which patches of the last square are
            hidden.
        side: see `released_clusters`.
        grid: rows and steps.
        count: how many patches to hide.
        sides: see `released_clusters`.

    Returns:
        bool `[rows * steps]`.
    """
    turn = order.reshape(grid)
    for axis in (0, 1):
        moved = functools.partial(jnp.roll, axis=axis)
        turn = _earliest(turn, side, sides, moved)
    first = jnp.lexsort((ties, turn.ravel()))[:count]
    return jnp.zeros(ties.size, bool).at[first].set(True)


def numbers(hidden: jax.Array, count: int) -> jax.Array:
    """Returns the ascending numbers, int32 `[count]`, of bool `[n]` with `count` trues."""
    return jnp.nonzero(hidden, size=count)[0].astype(jnp.int32)


def _earliest(
    turn: jax.Array,
    side: jax.Array,
    sides: Sequence[int],
    moved: Callable[[jax.Array, int], jax.Array],
) -> jax.Array:
    """Stretches beginnings along one axis: `side` patches have the turn of each."""
    earliest = turn
    for distance in range(1, max(sides)):
        nearer = jnp.minimum(earliest, moved(turn, distance))
        earliest = jnp.where(distance < side, nearer, earliest)
    return earliest
