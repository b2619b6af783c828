"""Ordered rules over parameter paths: what is treated differently, and how much.

A rule is `(regex, multiplier)` over paths such as `encoder/block_3/attn/qkv/kernel`;
the first regex found in a path decides. Layer-wise decay, freezing, other rates for
heads and what weight decay spares are all lists of such rules.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxsed.errors import InputError, nearest

Rules = Sequence[tuple[str, float]]


def multipliers(
    params: Any,
    rules: Rules,
    default: Callable[[str, Any], float] = lambda path, leaf: 1.0,
) -> Any:
    """Returns a tree like `params` of the multipliers the rules give.

    Args:
        params: parameter tree, or the shapes of one.
        rules: `(regex, multiplier)`; the first regex found in a parameter's path
            (`re.search`, keys joined by `/`) decides.
        default: path and leaf -> multiplier, where no rule speaks.

    Raises:
        InputError: an invalid regex, or one that is found in no path at all (a typing
            error in a rule would otherwise train what should be frozen).
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    paths = [path_of(keys) for keys, _ in leaves]
    compiled = [(_compile(regex), multiplier) for regex, multiplier in rules]
    for pattern, _ in compiled:
        if not any(pattern.search(path) for path in paths):
            near = nearest(pattern.pattern, paths, cutoff=0.0)
            raise InputError(
                f"optim rule {pattern.pattern!r} fits no parameter: they are named "
                f"like {near or 'nothing at all'!r}"
            )

    def decide(path: str, leaf) -> float:
        for pattern, multiplier in compiled:
            if pattern.search(path):
                return multiplier
        return default(path, leaf)

    values = [decide(path, leaf) for path, (_, leaf) in zip(paths, leaves)]
    return jax.tree_util.tree_unflatten(structure, values)


_BLOCK_NAME = re.compile(r"(block|layer)s?_?\d+$")


def layer_rules(layer_names: Sequence[str], layer_decay: float) -> Rules:
    """Returns the rules of layer-wise learning rate decay.

    The top block is at `layer_decay`, the one below at its square, and so on; what is
    not the encoder stays at 1. As in the released code, whatever comes before the
    first block (embeddings) counts to it, and what follows the last one (final norm)
    to that.

    Args:
        layer_names: keys below `encoder/`, bottom first. `block_3` or `layer_3` is a
            block (`conv_3` is not); if there is none, every key counts as one.
        layer_decay: factor from one block to the next.
    """
    is_block = [bool(_BLOCK_NAME.match(name)) for name in layer_names]
    if not any(is_block):
        is_block = [True] * len(layer_names)
    n_blocks = sum(is_block)
    rules, block = [], 0
    for name, begins_block in zip(layer_names, is_block):
        block += begins_block
        depth = n_blocks - max(block, 1) + 1
        rules.append((f"^encoder/{re.escape(name)}(/|$)", layer_decay**depth))
    return rules


def path_of(keys: Any) -> str:
    """Returns the path that rules are matched with, of the keys that JAX gives."""
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def _compile(regex: str) -> re.Pattern:
    try:
        return re.compile(regex)
    except re.error as error:
        raise InputError(
            f"optim rule {regex!r} is not a regular expression: {error}"
        ) from error
