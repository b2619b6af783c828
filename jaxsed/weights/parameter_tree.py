"""Trees of parameters, nested mappings, and the same parameters by "/"-joined path."""

from collections.abc import Mapping
from typing import Any

import flax

from jaxsed.errors import InputError


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of parameters from "/"-joined paths."""
    return flax.traverse_util.unflatten_dict(dict(flat), sep="/")


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Parameters of a tree by "/"-joined path.

    Raises:
        InputError: A name is not text, or has a "/" in it.
    """
    flat = {}
    for name, value in tree.items():
        if not isinstance(name, str) or "/" in name:
            raise InputError(f"parameter name {name!r} must be text without '/'")
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = value
    return flat
