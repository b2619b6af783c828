"""Nested settings by dotted names: `optim.max_lr` for `config["optim"]["max_lr"]`."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from jaxsed.errors import check_known


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns dotted name -> value of everything in it that is no mapping, in order."""
    found = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": below for name, below in flat(value).items()}
        else:
            found[key] = value
    return found


def nested(flattened: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested mapping that `flat` makes this of."""
    result: dict[str, Any] = {}
    for name, value in flattened.items():
        *above, last = name.split(".")
        place = result
        for key in above:
            place = place.setdefault(key, {})
        place[last] = value
    return result


def changed(
    config: Mapping[str, Any], changes: Mapping[str, Any], what: str = "key"
) -> dict[str, Any]:
    """Returns a copy with other values under some of its dotted names.

    Args:
        config: is left as it is.
        changes: dotted name -> value.
        what: such a name is called in messages.

    Raises:
        InputError: there is no such name; names the nearest one.
    """
    result = copy.deepcopy(dict(config))
    known = flat(config)
    for name, value in changes.items():
        check_known(what, name, known)
        *above, last = name.split(".")
        place = result
        for key in above:
            place = place[key]
        place[last] = value
    return result


def differences(before: Any, now: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted names whose values differ, or that one of the two lacks."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in before.keys() | now.keys():
            name = f"{prefix}.{key}" if prefix else key
            if key not in before or key not in now:
                yield name
            else:
                yield from differences(before[key], now[key], name)
    elif before != now:
        yield prefix
