"""Released checkpoints to our parameters, and back. NumPy only."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.weights.layouts.families import FAMILIES, rules_for
from jaxsed.weights.layouts.rules import Rule
from jaxsed.weights.parameter_tree import flattened, nested

SHOWN = 3  # keys named in a message


class Mapped:
    """A parameter that is made of a checkpoint's arrays when it is asked for.

    Attributes:
        path: Of the parameter.
        shape: Its shape.
        dtype: float32.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        path: str,
        shape: tuple[int, ...],
        rules: Sequence[Rule],
        arrays: Sequence[np.ndarray],
    ):
        self.path = path
        self.shape = tuple(shape)
        self._rules = rules
        self._arrays = arrays

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return _made(self.path, self._rules, self._arrays)


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
    found = spelled(encoder_name, rules, state_dict)
    flat = {}
    for path, group in by_path(rules).items():
        arrays = [state_dict[found[rule.key]] for rule in group]
        flat[path] = np.ascontiguousarray(_made(path, group, arrays))
    return nested(flat)


def to_released(encoder_name: str, params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The way back: parameters in the key layout of released checkpoints.

    What `from_released` drops is missing, and what a `Transform` leaves out is zero (the
    first row of ATST-Frame's positions); the original reads neither.

    Args:
        encoder_name: A key of `FAMILIES`.
        params: As returned by `from_released`.

    Returns:
        Arrays by key, views where that is possible.

    Raises:
        InputError: If a parameter is missing or has no place in the layout.
    """
    flat = flattened(params)
    rules = rules_for(encoder_name, flat)
    known = {rule.path for rule in rules}
    wrong = sorted(known ^ set(flat))
    if wrong:
        raise InputError(
            f"Parameters do not fit the released layout of {encoder_name}: {wrong[0]} "
            f"{'is missing' if wrong[0] in known else 'is not part of it'}."
        )
    n_slots = Counter(rule.path for rule in rules)
    return {
        rule.key: _released(rule, np.asarray(flat[rule.path]), n_slots[rule.path])
        for rule in rules
    }


def mapped(
    rules: Sequence[Rule],
    state_dict: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Mapped]:
    """As `from_released`, making nothing yet.

    Args:
        rules: All that apply, from `rules_for`.
        state_dict: Arrays by the rules' own keys, checked by `check_shapes`.
        shapes: Shapes of our parameters by path.

    Returns:
        Our parameters by path.
    """
    return {
        path: Mapped(path, shapes[path], group, [state_dict[r.key] for r in group])
        for path, group in by_path(rules).items()
    }


def spelled(
    encoder_name: str, rules: Iterable[Rule], keys: Iterable[str]
) -> dict[str, str]:
    """Finds the keys of a checkpoint.

    Args:
        encoder_name: A key of `FAMILIES`.
        rules: All that apply, from `rules_for`.
        keys: Of the checkpoint.

    Returns:
        For each rule's key, how the checkpoint spells it.

    Raises:
        InputError: If any is missing, or one of the checkpoint's is unknown.
    """
    keys = dict.fromkeys(keys)
    found, missing = {}, []
    for rule in rules:
        spelling = [key for key in (rule.key, *rule.aliases) if key in keys]
        if spelling:
            found[rule.key] = spelling[0]
        else:
            missing.append(rule.key)
    used = set(found.values())
    unexpected = [
        key
        for key in keys
        if key not in used and reason_to_drop(encoder_name, key) is None
    ]
    faults = [
        f"{len(names)} {what} ({enumerated(names)})"
        for what, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if faults:
        raise InputError(
            f"The checkpoint does not have the layout of a released {encoder_name}: "
            f"keys {' and '.join(faults)}. Is it a checkpoint of another encoder?"
        )
    return found


def reason_to_drop(encoder_name: str, key: str) -> str | None:
    """Says why a checkpoint's key is not used; None if it is not known to be so."""
    for known in FAMILIES[encoder_name].dropped:
        if re.fullmatch(known.pattern, key):
            return known.reason
    return None


def check_derived(encoder_name: str, state_dict: Mapping[str, np.ndarray]) -> None:
    """Compares what a checkpoint holds beside its weights with what we compute.

    Args:
        encoder_name: A key of `FAMILIES`.
        state_dict: The checkpoint's arrays by key of the released layout.

    Raises:
        InputError: Naming one that differs by more than rounding.
    """
    derive = FAMILIES[encoder_name].derived
    for key, expected in ({} if derive is None else derive(state_dict)).items():
        found = state_dict.get(key)
        if found is None:
            continue
        close = found.shape == expected.shape and np.allclose(
            found, expected, rtol=0, atol=1e-5 * np.abs(expected).max()
        )
        if not close:
            raise InputError(
                f"{key} is not what {encoder_name} has: the checkpoint is of a model with "
                "another front-end (sample rate, filters) or image, for which its weights "
                "were trained"
            )


def check_shapes(
    rules: Sequence[Rule],
    state_dict: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    """Compares a checkpoint's shapes with those that the model needs.

    Args:
        rules: All that apply, from `rules_for`.
        state_dict: Arrays by the rules' own keys.
        shapes: Shapes of our parameters by path.

    Raises:
        InputError: Naming keys, shapes found and shapes expected.
    """
    n_slots = Counter(rule.path for rule in rules)
    homeless = [rule.key for rule in rules if rule.path not in shapes]
    if homeless:
        raise InputError(
            f"{len(homeless)} tensors have no place in this architecture: "
            f"{enumerated(homeless)}"
        )
    wrong = []
    for rule in rules:
        # An array without memory, so that the tables of rules need not speak of shapes.
        ours = np.broadcast_to(np.float32(0), shapes[rule.path])
        expected = _released(rule, ours, n_slots[rule.path]).shape
        found = state_dict[rule.key].shape
        if found != expected:
            wrong.append(f"{rule.key} is {list(found)}, expected {list(expected)}")
    if wrong:
        raise InputError(
            f"{len(wrong)} tensors have the wrong shape: {enumerated(wrong, '; ')}"
        )


def by_path(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """Rules by the parameter they make, in the order of their slots."""
    groups: dict[str, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(rule.path, []).append(rule)
    return groups


def enumerated(names: Sequence[str], separator: str = ", ") -> str:
    """The first few of many names, whatever they hold, as part of one line."""
    shown = separator.join(printable(name) for name in names[:SHOWN])
    return shown + (f"{separator}..." if len(names) > SHOWN else "")


def printable(name: str) -> str:
    """A key of a file without what would draw on a terminal, shortened if very long."""
    return "".join(char if char.isprintable() else "?" for char in name[:200])


def _made(path, rules, arrays):
    parts = [_forward(rule, array) for rule, array in zip(rules, arrays)]
    if rules[0].slot is None:
        return parts[0]
    join = rules[0].join
    if join == "stack":
        return np.stack(parts)
    if join == "concatenate":
        return np.concatenate(parts, axis=-1)
    bits = [np.ascontiguousarray(part).view(np.uint32) for part in parts]
    if any(not np.array_equal(other, bits[0]) for other in bits):
        raise InputError(
            f"The checkpoint holds {len(parts)} arrays for {path} ({rules[0].key}, ...) "
            "which should be copies of one, and are not."
        )
    return parts[0]


def _forward(rule, array):
    try:
        return rule.transform.forward(np.asarray(array, np.float32))
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{rule.key} has shape {np.shape(array)}, which is not the layout of a "
            "released checkpoint."
        ) from error


def _released(rule, array, n_slots):
    if rule.slot is not None and rule.join == "stack":
        array = array[rule.slot]
    elif rule.slot is not None and rule.join == "concatenate":
        array = np.split(array, n_slots, axis=-1)[rule.slot]
    return rule.transform.backward(array)
