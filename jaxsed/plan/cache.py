"""Plans that were made before: compiling a full-size step takes minutes."""

import contextlib
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jaxsed
from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError
from jaxsed.plan.chips import Topology
from jaxsed.weights import zoo

# What a plan depends on, beside what it is asked for.
PACKAGES = ("jax", "jaxlib", "libtpu", "flax", "optax")
SOURCES = (
    *("augment", "frontends", "labels", "models", "plan", "stages", "training"),
    *("losses.py", "pretext_losses.py"),
    *("optim.py", "parameter_rules.py", "schedules.py"),
)


def planned(
    config: Mapping[str, Any], topology: Topology, fresh: bool = False
) -> dict[str, Any]:
    """Returns the figures of a plan (`figures.plan`), from the cache if they are there.

    A plan is for one config, topology, number of classes and kind of labels, and good as
    long as `PACKAGES` and `SOURCES` stay as they are.

    Args:
        config: as `configs/common.py` describes it.
        topology: what to compile for.
        fresh: whether to compile even what the cache holds.

    Raises:
        InputError: as `figures.plan`.
    """
    from jaxsed.plan import figures, step

    targets = step.task_of(config).targets
    n_classes, source = step.count_classes(config)
    data = (n_classes, step.are_labels_mixed(config, targets))
    place = folder() / f"{_key(config, topology, data)}.json"
    if not fresh and (found := _read(place)) is not None:
        return {**found, "classes": {"count": n_classes, "from": source}}
    made = figures.plan(config, topology, n_classes)
    made["classes"] = {"count": n_classes, "from": source}
    made["versions"] = versions()
    _write(place, made)
    return made


def folder() -> Path:
    """Returns where plans are kept, beside the cache of checkpoints."""
    return zoo.cache_folder().parent / "plans"


def versions() -> dict[str, str]:
    """Returns the installed versions of `PACKAGES`."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _key(config: Mapping[str, Any], topology: Topology, data: tuple) -> str:
    given = [config, topology.name, data, versions(), _source_hash()]
    text = json.dumps(given, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _source_hash() -> str:
    digest = hashlib.sha256()
    root = Path(jaxsed.__file__).parent
    for name in SOURCES:
        for path in (root / name, *sorted((root / name).rglob("*.py"))):
            if path.is_file():
                digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or not whole
        return None


def _write(path: Path, plan: Mapping[str, Any]) -> None:
    """Keeps a plan; a cache that cannot be written is no reason to lose minutes."""
    with contextlib.suppress(InputError):
        write_atomically(path, json.dumps(plan), parents=True)
