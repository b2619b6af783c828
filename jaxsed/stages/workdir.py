"""The folder of a run: which config it belongs to, and whether it is finished."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed import locks
from jaxsed.atomic import replacing
from jaxsed.dotted import differences, flat
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
    "frames",
    "teachers_at_once",
)


_CONFIG, _COMPILED = "config.json", ".xla"


def claim(workdir: Path, config: Mapping[str, Any]) -> None:
    """Takes a folder for a run of this process: no other run may use it meanwhile.

    Writes `config.json`, or checks that the run in `workdir` has this config; one that
    was refused before it had begun may be started with another. Of several processes the
    first does so, and all learn the verdict.

    Args:
        workdir: made if missing.
        config: plain nested mapping.

    Raises:
        InputError: the folder is in use, cannot be written, or belongs to a run with
            another config; names the keys.
    """
    given = json.loads(json.dumps(config))
    processes.on_first(lambda: _claim(workdir, given))


def agree(
    workdir: Path, config: Mapping[str, Any], may_change: Sequence[str] = ()
) -> None:
    """Does as `claim` for a folder that several jobs may use at the same time.

    Args:
        workdir: made if missing.
        config: plain nested mapping.
        may_change: keys, or groups of them, that may differ from start to start.

    Raises:
        InputError: the folder cannot be written, or belongs to another config.
    """
    given = json.loads(json.dumps(config))
    processes.on_first(lambda: _agree(workdir, given, may_change))


def _claim(workdir: Path, given: Any) -> None:
    with _writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        locks.hold(workdir)
        if not _has_begun(workdir):
            (workdir / _CONFIG).unlink(missing_ok=True)
    _agree(workdir, given)


def _has_begun(workdir: Path) -> bool:
    """Whether there is anything that a config, also of a link, is said of."""
    for _folder, subfolders, files in os.walk(workdir):
        if _COMPILED in subfolders:
            subfolders.remove(_COMPILED)
        if not {_CONFIG, locks.NAME}.issuperset(files):
            return True
    return False


def _agree(workdir: Path, given: Any, may_change: Sequence[str] = ()) -> None:
    with _writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / _CONFIG
        if path.exists():
            before = _read(path)
            if before == given:
                return
            _check_same(workdir, before, given, may_change)
        with replacing(path) as beside:
            beside.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({error}): remove it if the run in that folder has "
            "this config, or use another --workdir"
        ) from error


@contextlib.contextmanager
def _writing(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"--workdir={workdir} cannot be written to ({error.strerror}): check its "
            "disk and rights, or use another one"
        ) from error


def _check_same(
    workdir: Path, before: Any, given: Any, may_change: Sequence[str]
) -> None:
    values_before, values_given = flat(before), flat(given)
    changed = sorted(
        name
        for name in differences(before, given)
        if not f".{name}".endswith(tuple(f".{key}" for key in MAY_CHANGE))
        and not f"{name}.".startswith(tuple(f"{key}." for key in may_change))
        and not _is_same_place(workdir, values_before.get(name), values_given.get(name))
    )
    if changed:
        raise InputError(
            f"{workdir} holds a run with another {', '.join(changed[:5])}: use "
            "another --workdir, or remove that folder to start afresh"
        )


def _is_same_place(workdir: Path, before: Any, given: Any) -> bool:
    """Whether two values name one place in the folder of a run that this is a part of.

    A chain or grid tells its parts where things lie in its folder, which may be called
    otherwise now (`runs/demo`, `/home/me/runs/demo`) or have moved. Whether the chain
    itself says the same as before, its own `config.json` tells.
    """
    if isinstance(before, list) and isinstance(given, list):
        return len(before) == len(given) and all(
            old == new or _is_same_place(workdir, old, new)
            for old, new in zip(before, given)
        )
    if not (isinstance(before, str) and isinstance(given, str)):
        return False
    return any(
        f"/{before}".endswith(f"/{Path(given).relative_to(folder)}")
        for folder in workdir.parents
        if (folder / _CONFIG).is_file() and Path(given).is_relative_to(folder)
    )
