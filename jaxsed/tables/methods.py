"""What runs differ in: names for the rows and columns of a table, from their configs."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jaxsed.tables.runs import Run

MODEL = "model.encoder"
# Not what is compared: repeats, what, how and how often is shown or saved, by what
# means it is computed, and where.
IMMATERIAL = (
    "seed",
    "licence",
    "frames",
    "tensorboard",
    "overlap",
    "accumulate",
    "remat",
    "part",
    "teachers_at_once",
    "shard_clips",
    "eval.batch_size",
    "eval.metrics",
    "data.workers",
    "data.cache_decoded_bytes",
)
IMMATERIAL_GROUPS = ("every.", "mesh.")
# key -> what is said where it is off, and where it is on. Rows are told apart by these
# keys as far as they go, in this order.
PHRASES = {
    "model.encoder": ("{}", "{}"),
    "teacher.logits": ("without KD", "KD from {}"),
    "init": ("from scratch", "from {}"),
    "mode": ("{}", "{}"),
    "model.sequence": ("without sequence model", "with {}"),
    "stage": ("{}", "{}"),
    "data.eval": ("{}", "on {}"),
}
OFF = ("", "none", None, "()")
_ABSENT = ""
# Last parts of paths that say nothing of what a thing is.
_TAIL = re.compile(r"/(model|logits|train\w*|valid\w*|eval\w*|test\w*|fold\d+)$")


class Rows(NamedTuple):
    """Names of the methods.

    Attributes:
        names: of the method of each run.
        unsaid: keys that methods differ in as well, but that their names leave out.
    """

    names: list[str]
    unsaid: list[str]


def column_of(run: Run, keys: Sequence[str]) -> str:
    """Returns the column that a run belongs to; one without these keys is of its stage."""
    values = [
        _shown(_neutral(run.settings[k], None)) for k in keys if k in run.settings
    ]
    return ", ".join(values) or str(run.settings["stage"])


def rows(runs: Sequence[Run], columns: Sequence[str], ignored: Collection[str]) -> Rows:
    """Returns what to call the method of each run.

    Methods differ in settings that differ between runs of one column. What only differs
    between columns, as a model's sizes do, belongs to the column. A name has as many
    settings as tell all methods apart.

    Args:
        runs: the runs.
        columns: the column of each.
        ignored: keys that make no row; those that columns are made of, too.
    """
    described = [_described(run, ignored) for run in runs]
    keys = dict.fromkeys([*PHRASES, *(key for one in described for key in one)])
    telling, unsaid = [], []
    groups = list(columns)
    for key in keys:
        values = [one.get(key, _ABSENT) for one in described]
        if _n_different(zip(columns, values)) == _n_different(columns):
            continue
        finer = list(zip(groups, values))
        if _n_different(finer) > _n_different(groups):
            telling.append(key)
            groups = finer
        else:
            unsaid.append(key)
    names = [
        ", ".join(_phrase(key, one, described) for key in telling) for one in described
    ]
    return Rows(
        [name or str(run.settings["stage"]) for name, run in zip(names, runs)], unsaid
    )


def lumped(
    runs: Sequence[Run], cells: Sequence[Any], ignored: Collection[str]
) -> dict[Any, list[str]]:
    """Returns the cells whose runs are no repeats of each other, and what these differ in.

    Args:
        runs: the runs.
        cells: the cell of each.
        ignored: keys that may differ.
    """
    values: dict[Any, dict[str, set[str]]] = {}
    described = [_described(run, ignored) for run in runs]
    keys = dict.fromkeys(key for one in described for key in one)
    for cell, one in zip(cells, described):
        of_cell = values.setdefault(cell, {key: set() for key in keys})
        for key in keys:
            of_cell[key].add(one.get(key, _ABSENT))
    found = {
        cell: [key for key, seen in of_cell.items() if len(seen) > 1]
        for cell, of_cell in values.items()
    }
    return {cell: keys for cell, keys in found.items() if keys}


def _n_different(values) -> int:
    return len(set(values))


def _described(run: Run, ignored: Collection[str]) -> dict[str, str]:
    return {
        key: _neutral(value, None if key == MODEL else run.settings.get(MODEL))
        for key, value in run.settings.items()
        if key not in ignored
        and key not in IMMATERIAL
        and not key.startswith(IMMATERIAL_GROUPS)
    }


def _neutral(value: Any, encoder: str | None) -> str:
    """Returns a value as text, without the model's name: `runs/weak_*`, `*_weak`."""
    if isinstance(value, (list, tuple)):
        return f"({', '.join(_neutral(part, encoder) for part in value)})"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if encoder and isinstance(value, str):
        kind = re.escape(encoder.removeprefix("tiny_"))
        text = re.sub(rf"(tiny_)?{kind}", "*", text, flags=re.IGNORECASE)
        if "/" not in text:  # a released model: ATST-F_weak
            text = re.sub(
                r"^[A-Za-z0-9-]+_(ssl|weak|strong.*|advanced)$", r"*_\1", text
            )
    return text


def _phrase(
    key: str, one: Mapping[str, str], described: Sequence[Mapping[str, str]]
) -> str:
    value = one.get(key, _ABSENT)
    others = {other.get(key, _ABSENT) for other in described} - {value}
    shown = _shown(value)
    if shown in map(_shown, others):
        shown = value
    if key not in PHRASES:
        return f"{key}={shown or 'none'}"
    off, on = PHRASES[key]
    return (off if value in OFF else on).format(shown)


def _shown(value: str) -> str:
    """Returns the part of a path that names a thing; other values as they are."""
    if value.startswith("("):
        parts = dict.fromkeys(_shown(part) for part in value[1:-1].split(", "))
        return "+".join(parts)
    while "/" in value and _TAIL.search(value):
        value = _TAIL.sub("", value)
    return value.rstrip("/").rsplit("/", 1)[-1].removeprefix("*_")
