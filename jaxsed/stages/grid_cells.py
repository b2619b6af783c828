"""The cells of a grid: which settings are tried, how often, and what each run is.

A cell is a run. What differs between cells is an axis, and there are two kinds: axes
called `seed`, and folds, repeat a setting and are averaged over; all other axes make
settings, of which one is selected.
"""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed.dotted import changed, flat
from jaxsed.errors import InputError

SEED = "seed"
TEST = "test"  # in a fold: the data that its models are tested on
# Names where no axis makes several settings, and neither folds nor seeds repeat them.
ONLY_SETTING, ONLY_REPEAT = "all", "run"
FRAMES = "frames"  # of frozen encoders, for all cells
_LONGEST_PART = 60  # of a folder's name, in characters; file systems allow 255 bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """One run of a grid.

    Attributes:
        setting: name of the setting; the folder that holds all runs with it.
        repeat: name of fold and seed; the run's folder in there.
        values: dotted key -> value of the setting's axes.
        fold: name of the fold; "" where there are none.
        seed: of the run; 0 where no axis is one, and where several are (links of a chain
            have one each), the number of their combination.
        config: of the run.
        test: prepared folder that the run's model is tested on; "" for none.
        selects: whether the selection looks at this run.
    """

    setting: str
    repeat: str
    values: Mapping[str, Any]
    fold: str
    seed: int
    config: Mapping[str, Any]
    test: str
    selects: bool

    @property
    def name(self) -> str:
        """The run's folder, relative to the grid's."""
        return f"{self.setting}/{self.repeat}"


def expand(config: Mapping[str, Any], workdir: Path) -> list[Cell]:
    """Returns all cells, in the order to run them: all settings, then the next repeat.

    Args:
        config: of stage `grid`; `base`, `axes`, `folds`, `select.seeds`, `select.folds`
            and `test` are looked at.
        workdir: the grid's folder.

    Raises:
        InputError: an axis or a fold changes what the base does not have, an axis has no
            or equal values, or the test data are not kept apart.
    """
    base, axes = _sharing_frames(config["base"], workdir), _axes(config["axes"])
    setting_axes = {name: values for name, values in axes.items() if not _is_seed(name)}
    seed_axes = {name: values for name, values in axes.items() if _is_seed(name)}
    folds = {name: flat(fold) for name, fold in config["folds"].items()} or {"": {}}
    settings, seeds = _product(setting_axes), _product(seed_axes)
    select, labels = config["select"], _labels(axes)
    cells = []
    for (i, (fold, data)), (j, seed) in itertools.product(
        enumerate(folds.items()), enumerate(seeds)
    ):
        data = dict(data)
        test = data.pop(TEST, config["test"])
        selects = _among(i, select["folds"]) and _among(j, select["seeds"])
        for values in settings:
            own = changed(base, {**data, **values, **seed}, "key of axes or folds")
            cell = Cell(
                setting=_name(values, labels) or ONLY_SETTING,
                repeat="-".join(filter(None, (_readable(fold), _name(seed, labels))))
                or ONLY_REPEAT,
                values=values,
                fold=fold,
                seed=j if len(seed) > 1 else next(iter(seed.values()), 0),
                config=own,
                test=str(test),
                selects=selects,
            )
            _check_test(cell)
            cells.append(cell)
    return cells


def result_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the training that a run ends with: of a chain the last, of phases all."""
    if config["stage"] == "chain":
        return result_config(config["links"][config["order"][-1]])
    if config["stage"] == "phases":
        return result_config(config["training"])
    return config


def result_folder(config: Mapping[str, Any], folder: Path) -> Path:
    """Returns where a run leaves `model/` and `metrics.jsonl`."""
    if config["stage"] == "chain":
        last = config["order"][-1]
        return result_folder(config["links"][last], folder / last)
    return folder


def _sharing_frames(base: Mapping[str, Any], workdir: Path) -> Mapping[str, Any]:
    """Has trainings on frozen encoders keep the encoder's frames in one place."""
    if base.get("frames") == "":
        return {**base, "frames": str(workdir / FRAMES)}
    return base


def _axes(nested: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    axes = flat(nested)
    for name, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(
                f"axes.{name}={values!r}: expected the values to try, such as (1e-4, 3e-4)"
            )
        for a, b in itertools.combinations(values, 2):
            if a == b:
                raise InputError(f"axes.{name} has {a!r} twice: give each value once")
    return axes


def _is_seed(name: str) -> bool:
    return name.split(".")[-1] == SEED


def _product(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values)) for values in itertools.product(*axes.values())]


def _among(number: int, first: int) -> bool:
    return not first or number < first


def _labels(axes: Mapping[str, Any]) -> dict[str, str]:
    """Returns what each axis is called in names of folders: its last key, if unique."""
    last = {name: name.split(".")[-1] for name in axes}
    return {
        name: short if list(last.values()).count(short) == 1 else name
        for name, short in last.items()
    }


def _name(values: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    return "-".join(_readable(f"{labels[name]}_{v}") for name, v in values.items())


def _readable(text: str) -> str:
    """Returns a name for a folder; no two texts get the same one."""
    name = re.sub(r"[^\w.+-]+", "_", text)[:_LONGEST_PART]
    if name == text:
        return name
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _check_test(cell: Cell) -> None:
    """Refuses to test on what was trained on or selected with."""
    if not cell.test:
        return
    data = result_config(cell.config)["data"]
    train = [data["train"]] if isinstance(data["train"], str) else data["train"]
    for use, folders in (("trained", train), ("selected", [data["eval"]])):
        if Path(cell.test).resolve() in [Path(folder).resolve() for folder in folders]:
            raise InputError(
                f"test={cell.test} is what the models of {cell.repeat} are {use} on: give "
                "data that are used for nothing else, or leave test empty"
            )
