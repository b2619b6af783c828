"""The folder of a run: which config it belongs to, and whether it is finished."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxsed.errors import InputError

# Keys that change what is shown or when, but not what is computed; in a link of a
# chain as well.
MAY_CHANGE = ("tensorboard", "every.log", "every.save")


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes `config.json`, or checks that the run in `workdir` has this config.

    Args:
        workdir: made if missing.
        config: plain nested mapping.

    Raises:
        InputError: the folder belongs to a run with another config; names the keys.
    """
    given = json.loads(json.dumps(config))
    path = workdir / "config.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before == given:
            return
        changed = sorted(
            name
            for name in _differences(before, given)
            if not f".{name}".endswith(tuple(f".{key}" for key in MAY_CHANGE))
        )
        if changed:
            raise InputError(
                f"{workdir} holds a run with another {', '.join(changed[:5])}: use "
                "another --workdir, or remove that folder to start afresh"
            )
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)


def _differences(before: Any, now: Any, prefix: str = "") -> Iterator[str]:
    """Yields the dotted names of the keys whose values differ."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in before.keys() | now.keys():
            name = f"{prefix}.{key}" if prefix else key
            if key not in before or key not in now:
                yield name
            else:
                yield from _differences(before[key], now[key], name)
    elif before != now:
        yield prefix
