"""The folder of a run: which config it belongs to, and whether it is finished."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxsed import locks
from jaxsed.atomic import replacing
from jaxsed.errors import InputError
from jaxsed.training import processes

# Keys that change what is shown, when, or by what means, but not what is computed, but
# for rounding; in a link of a chain as well. A run may go on elsewhere.
MAY_CHANGE = (
    "tensorboard",
    "every.log",
    "every.save",
    "mesh.data",
    "mesh.fsdp",
    "overlap",
    "accumulate",
    "remat",
    "data.workers",
    "data.cache_decoded_bytes",
    "teachers_at_once",
)


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Takes a folder for a run of this process: no other run may use it meanwhile.

    Writes `config.json`, or checks that the run in `workdir` has this config. Of
    several processes the first does so, and all learn the verdict.

    Args:
        workdir: made if missing.
        config: plain nested mapping.

    Raises:
        InputError: the folder is in use, cannot be written, or belongs to a run with
            another config; names the keys.
    """
    given = json.loads(json.dumps(config))
    processes.on_first(lambda: _claim(workdir, given))


def _claim(workdir: Path, given: Any) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        locks.hold(workdir)
        path = workdir / "config.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if before == given:
                return
            _check_same(workdir, before, given)
        with replacing(path) as beside:
            beside.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"--workdir={workdir} cannot be written to ({error.strerror}): check its "
            "disk and rights, or use another one"
        ) from error


def _check_same(workdir: Path, before: Any, given: Any) -> None:
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
