"""Arrays of any checkpoint of our encoders by the keys of the released layout."""

import dataclasses
import itertools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.weights.layouts import (
    ast,
    external_asit,
    external_ast,
    external_atst_frame,
    external_beats,
    external_deit,
    external_m2d,
    external_transformers_ast,
)
from jaxsed.weights.layouts.families import FAMILIES, rules_for
from jaxsed.weights.layouts.rules import External
from jaxsed.weights.mapping import reason_to_drop

EXTERNALS = {
    external.name: external
    for external in (
        external_beats.EXTERNAL,
        external_atst_frame.EXTERNAL,
        external_m2d.EXTERNAL,
        external_asit.EXTERNAL,
        external_deit.EXTERNAL,
        *external_ast.EXTERNALS,
        *external_transformers_ast.EXTERNALS,
    )
}
RELEASED = "released layout"
# Key prefixes of PretrainedSED's wrapped models, which files trained with its current
# code have, or of AST unwrapped, and those of the released files that stand for the same.
WRAPPED = {
    "beats": ("model.beats.", "model.model."),
    "fpasst": ("model.fpasst.", "model."),
    "m2d": ("model.m2d.", "model."),
    "asit": ("model.asit.", "model."),
    "htsat": ("", "sed_model."),  # without its authors' Lightning module
    **{
        name: (ast.TRANSFORMER.removeprefix(ast.WRAPPER), ast.TRANSFORMER)
        for name in FAMILIES
        if name.startswith(("ast", "ssast"))
    },
}
ON_TOP = re.compile(r"(strong_head|weak_head|seq_model)\..*")  # of an encoder
FRONTEND_CONSTANT = re.compile(r"model\.(\w*mel|m2d\.to_spec)\..*")


@dataclasses.dataclass(frozen=True)
class Recognised:
    """What a checkpoint is, with its arrays in the released layout.

    Attributes:
        encoder: Name of the encoder.
        origin: `RELEASED` or a key of `EXTERNALS`.
        container: Path to the state dict in the file, "" if that is the file itself.
        prefix: Of the encoder's keys in the state dict.
        licence: Of the weights.
        stage: "ssl" or "weak" where the origin tells it, None where the heads do.
        arrays: Arrays by key of the released layout, read-only views of the file.
        dropped: Reason by path in the file, of arrays with no place in that layout.
        lacks: Keys of the released layout that files of this origin never have.
        notes: What was done on the way, for the person who converts.
    """

    encoder: str
    origin: str
    container: str
    prefix: str
    licence: str
    stage: str | None
    arrays: dict[str, np.ndarray]
    dropped: dict[str, str]
    notes: list[str]
    lacks: frozenset[str] = frozenset()


def released_prefix(encoder: str) -> str:
    """What all of an encoder's keys begin with in the released layout."""
    keys = (rule.key.split(".")[:-1] for rule in rules_for(encoder, ()))
    columns = itertools.takewhile(lambda column: len(set(column)) == 1, zip(*keys))
    return "".join(f"{column[0]}." for column in columns)


def in_released_layout(
    layout: str, prefix: str, flat: Mapping[str, np.ndarray], content: Any
) -> Recognised:
    """Takes a file's arrays out of its containers and prefixes.

    Args:
        layout: A key of `FAMILIES`, or of `EXTERNALS` where keys differ from those.
        prefix: Of the encoder's keys, through all containers.
        flat: All arrays of the file by path.
        content: Of the file.
    """
    encoder = layout if layout in FAMILIES else EXTERNALS[layout].encoder
    ours = released_prefix(encoder)
    external = _external_of(layout)
    keys = external.keys or [key.removeprefix(ours) for key in _keys(external)]
    known = next(prefix + key for key in keys if prefix + key in flat)
    container = _container(content, flat[known], prefix)
    inner = prefix.removeprefix(container)
    wrapped, plain = WRAPPED.get(encoder, (ours, ours))
    shared = {
        "encoder": encoder,
        "container": container.removesuffix("."),
        "prefix": inner,
    }
    if layout in FAMILIES:
        for spelled, stands_for in ((ours, ours), (wrapped, plain)):
            tail = spelled + ours.removeprefix(stands_for)
            if f".{inner}".endswith(f".{tail}"):
                base = container + inner.removesuffix(tail)
                return _released(flat, base, spelled, stands_for, shared)
    return _external(external, prefix, flat, content, shared)


def _released(flat, base, spelled, stands_for, shared) -> Recognised:
    """A file of PretrainedSED, maybe within a training's checkpoint."""
    arrays, dropped = {}, {}
    for path, array in flat.items():
        key = path.removeprefix(base)
        if not path.startswith(base):
            dropped[path] = _outside(base, path)
        elif key.startswith(spelled):
            arrays[stands_for + key.removeprefix(spelled)] = array
        elif stands_for != spelled and FRONTEND_CONSTANT.fullmatch(key):
            dropped[path] = "constants that the front-end computes itself"
        else:
            arrays[key] = array
    for path, key in _on_top(arrays, dropped, base).items():
        arrays[key] = flat[path]
        del dropped[path]
    return Recognised(
        **shared,
        origin=RELEASED,
        licence=FAMILIES[shared["encoder"]].licence,
        stage=None,
        arrays=arrays,
        dropped=dropped,
        notes=[],
    )


def _on_top(arrays, dropped, base: str) -> dict[str, str]:
    """Heads further out than the wrapped encoder, if it has none beside it: key by path.

    PretrainedSED's code has wrapped its encoders once less and once more than now.
    """
    steps = base.split(".")[:-1]
    while steps and not any(map(ON_TOP.fullmatch, arrays)):
        steps.pop()
        outer = "".join(f"{step}." for step in steps)
        keys = {path: path.removeprefix(outer) for path in dropped}
        found = {path: key for path, key in keys.items() if ON_TOP.fullmatch(key)}
        if found:
            return found
    return {}


def _external_of(layout: str) -> External:
    if layout in EXTERNALS:
        return EXTERNALS[layout]
    same_keys = (one for one in EXTERNALS.values() if one.keys is None)
    own = (one for one in same_keys if one.encoder == layout)
    return next(own, External(layout, f"{layout} alone", "unknown"))


def _external(external: External, prefix, flat, content, shared) -> Recognised:
    """A file of the encoder's own authors."""
    ours = released_prefix(external.encoder)
    below = {
        path.removeprefix(prefix): array
        for path, array in flat.items()
        if path.startswith(prefix)
    }
    notes: list[str] = []
    if external.adapt is not None:
        below, notes = external.adapt(below, content)
    arrays, dropped = {}, {}
    head = {rule.key for rule in FAMILIES[external.encoder].weak_head}
    modules = {key.removeprefix(ours).partition(".")[0] for key in _keys(external)}
    for key, array in below.items():
        reason = _reason(external, key)
        if reason is not None:
            dropped[prefix + key] = reason
        elif key.startswith(("strong_head.", "weak_head.")) or key in head:
            arrays[key] = array
        elif (
            key.partition(".")[0] in modules
            or reason_to_drop(external.encoder, ours + key) is not None
        ):
            arrays[ours + key] = array
        else:
            dropped[prefix + key] = "belongs to no module of the encoder"
    for path in flat:
        if not path.startswith(prefix):
            dropped[path] = _reason(external, path) or _outside(prefix, path)
    return Recognised(
        **shared,
        origin=external.name,
        licence=external.licence,
        stage=_stage(external, flat, shared["container"]),
        arrays=arrays,
        dropped=dropped,
        notes=notes,
        lacks=_lacks(external, ours),
    )


def _stage(external: External, flat, container: str) -> str:
    if external.fine_tuned is None:
        return "ssl"
    start = re.escape(container + ".") if container else ""
    pattern = re.compile(start + external.fine_tuned)
    return "weak" if any(map(pattern.fullmatch, flat)) else "ssl"


def _lacks(external: External, prefix: str) -> frozenset[str]:
    if external.lacks is None:
        return frozenset()
    pattern = re.compile(re.escape(prefix) + external.lacks)
    return frozenset(filter(pattern.fullmatch, _keys(external)))


def _keys(external: External) -> list[str]:
    rules = rules_for(external.encoder, ())
    return [spelling for rule in rules for spelling in (rule.key, *rule.aliases)]


def _reason(external: External, key: str) -> str | None:
    for known in external.dropped:
        if re.fullmatch(known.pattern, key):
            return known.reason
    return None


def _outside(prefix: str, path: str) -> str:
    if path.startswith(("optimizer", "optimiser", "lr_scheduler")):
        return "state of the optimiser"
    return f"not below {prefix!r}"


def _container(content: Any, array: np.ndarray, prefix: str) -> str:
    """The part of `prefix`, with its last dot, that are steps through containers.

    `array` is one behind it; it is told by itself, as what wraps modules may have been
    taken out of `prefix`.
    """

    def holder(value, taken):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for step, inner in items:
            if inner is array:
                return taken
            deeper = f"{taken}{step}."
            if isinstance(inner, (dict, list, tuple)) and prefix.startswith(deeper):
                found = holder(inner, deeper)
                if found is not None:
                    return found
        return None

    return holder(content, "") or ""
