"""Released checkpoints to our parameters, and back. NumPy only."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.weights.layouts.families import FAMILIES, rules_for


def from_released(
    encoder_name: str, state_dict: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Turns a released checkpoint into parameters of a `SoundEventModel`.

    Args:
        encoder_name: A key of `FAMILIES`.
        state_dict: The checkpoint's arrays by key.

    Returns:
        Nested dict of float32 arrays with `encoder`, and with `sequence`,
        `strong_head` and `weak_head` where the checkpoint has them.

    Raises:
        InputError: If a key is missing or unknown, or if an array has another number
            of axes than the layout says.
    """
    rules = rules_for(encoder_name, state_dict)
    _check_keys(encoder_name, rules, state_dict)
    flat: dict[str, Any] = {}
    for rule in rules:
        array = np.asarray(state_dict[rule.key], np.float32)
        try:
            array = rule.transform.forward(array)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"{rule.key} has shape {np.shape(state_dict[rule.key])}, which is not "
                f"the layout of a released {encoder_name} checkpoint."
            ) from error
        if rule.slot is None:
            flat[rule.path] = array
        else:  # rules of one parameter come in the order of their slots
            flat.setdefault(rule.path, (rule.join, []))[1].append(array)
    joined = {
        path: np.ascontiguousarray(
            _joined(path, *array) if isinstance(array, tuple) else array
        )
        for path, array in flat.items()
    }
    return _nested(joined)


def to_released(encoder_name: str, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The way back: parameters in the key layout of released checkpoints.

    What `from_released` drops is missing, and the first row of ATST-Frame's positions
    is zero; the original reads neither.

    Args:
        encoder_name: A key of `FAMILIES`.
        params: As returned by `from_released`.

    Returns:
        Arrays by key.

    Raises:
        InputError: If a parameter is missing or has no place in the layout.
    """
    flat = _flat(params)
    rules = rules_for(encoder_name, flat)
    known = {rule.path for rule in rules}
    wrong = sorted(known ^ set(flat))
    if wrong:
        raise InputError(
            f"Parameters do not fit the released layout of {encoder_name}: {wrong[0]} "
            f"{'is missing' if wrong[0] in known else 'is not part of it'}."
        )
    released = {}
    for rule in rules:
        array = np.asarray(flat[rule.path])
        if rule.slot is not None:
            n_slots = sum(other.path == rule.path for other in rules)
            array = _part(array, rule, n_slots)
        released[rule.key] = np.ascontiguousarray(rule.transform.backward(array))
    return released


def _joined(path, join, arrays):
    if join == "stack":
        return np.stack(arrays)
    if join == "concatenate":
        return np.concatenate(arrays, axis=-1)
    if any(not np.array_equal(array, arrays[0]) for array in arrays):
        raise InputError(
            f"The checkpoint holds {len(arrays)} arrays for {path} which should be "
            "copies of one, and are not."
        )
    return arrays[0]


def _part(array, rule, n_slots):
    if rule.join == "stack":
        return array[rule.slot]
    if rule.join == "concatenate":
        return np.split(array, n_slots, axis=-1)[rule.slot]
    return array


def _check_keys(encoder_name, rules, state_dict):
    expected = {rule.key for rule in rules}
    dropped = FAMILIES[encoder_name].dropped
    missing = [rule.key for rule in rules if rule.key not in state_dict]
    unexpected = [
        key
        for key in state_dict
        if key not in expected
        and not any(re.fullmatch(known.pattern, key) for known in dropped)
    ]
    faults = [
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
        for what, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    ]
    if faults:
        raise InputError(
            f"The checkpoint does not have the layout of a released {encoder_name}: "
            f"keys {' and '.join(faults)}. Is it a checkpoint of another encoder?"
        )


def _nested(flat):
    tree: dict[str, Any] = {}
    for path, array in flat.items():
        *folders, name = path.split("/")
        folder = tree
        for step in folders:
            folder = folder.setdefault(step, {})
        folder[name] = array
    return tree


def _flat(tree, prefix=""):
    flat = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{name}/"))
        else:
            flat[prefix + name] = value
    return flat
