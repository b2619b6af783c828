"""Any recipe as a grid: several values of its arguments, folds, seeds; the best is tested.

    python -m jaxsed.main --config=configs/grid.py:base=dcase2016,model=beats,mode=frozen \\
        --workdir=runs/dcase2016_beats_frozen
    python -m jaxsed.main --config=configs/grid.py:base=maestro,model=m2d \\
        --workdir=runs/maestro_m2d
    python -m jaxsed.main --config=configs/grid.py:base=student,model=beats,lr=1e-4+3e-4 \\
        --workdir=runs/student_beats

`base` is the recipe: a file of configs/ (student, teacher, weak, desed, ...), or a path to
one of your own. All arguments that are not listed below are the recipe's, and each of them
may have several values, joined by `+`: those are tried. `seed` and `fold` are special: a
setting is judged by its mean over all seeds and folds. docs/grids.md says more.

Where they are not given:

* `lr`: 7e-5, 1e-4, 3e-4, 6e-4, 1e-3 and 3e-3, the grid of Effective Pre-Training, section
  III-A. For a frozen encoder, of which the paper does not say what was tried, six from 1e-3
  to 0.3, around the 0.2 of the released command.
* `fold`: all, if the recipe has folds.
* `seed`: 0, 1 and 2 (section III-A); 0 to 3 for recipes with a test set of their own
  (section IV-B); 0 where there are folds (ibid.).
* test data: where a recipe has the argument `on`, settings are compared on validation data
  (`on=validation`), and the best is tested on `on=eval`, which nothing else looks at. Other
  recipes evaluate on the data that the papers report: those are what is selected on, as in
  the papers, and nothing is tested, unless `test` names a prepared folder.

The grid's own arguments: `base`, `test`, `metric` (to select by; the recipe's first),
`select_seeds` and `select_folds` (how many of them the selection looks at, 0: all; the
others are trained for the selected setting alone. HEAR's kit has `select_folds=1`).

Everything else is set as for the recipe, with `base` in front: `--config.base.steps=1000`.
Several jobs: start the same command on each, or `--config.part=3/16` (docs/grids.md).
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ml_collections import ConfigDict

from configs import common
from jaxsed.dotted import differences, flat, nested
from jaxsed.errors import InputError, check_known
from jaxsed.stages.grid_cells import result_config

SEVERAL = "+"
OWN = {
    "base": "student",
    "test": "",
    "metric": "",
    "select_seeds": 0,
    "select_folds": 0,
}
FROZEN_LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
SEEDS, SEEDS_WITH_TEST, SEEDS_WITH_FOLDS = "0+1+2", "0+1+2+3", "0"


def get_config(text: str = "") -> ConfigDict:
    """Returns the config; see the module's docstring for the arguments."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    own = ",".join("".join(pair) for pair in pairs if pair[0] in OWN)
    given = common.arguments(own, **OWN)
    recipe = open_recipe(given.base)
    several = {
        name: value.split(SEVERAL) for name, _, value in pairs if name not in OWN
    }
    testing = "on" not in several and takes(recipe, "on")
    if testing:
        several["on"] = ["validation"]
    several = with_defaults(recipe, several, testing)
    first = {name: options[0] for name, options in several.items()}
    folds = several.pop("fold", [])
    config = {
        "stage": "grid",
        "base": configured(recipe, first),
        "axes": axes(recipe, first, several),
        "folds": folds_of(recipe, first, folds, testing and not given.test),
        "test": given.test,
        "select": {
            "metric": given.metric,
            "evaluation": "last",  # of the model that is kept; or best, of all
            "seeds": given.select_seeds,
            "folds": given.select_folds,
        },
        "part": "",  # 3/16: every 16th cell, from the fourth on
    }
    if testing and not folds and not given.test:
        config["test"] = test_data(recipe, first)
    return ConfigDict(config)


def open_recipe(base: str) -> ModuleType:
    """Returns the module of a recipe: its name in configs/, or the path of its file.

    Raises:
        InputError: there is none.
    """
    path = Path(base)
    if path.suffix != ".py":
        path = Path(__file__).parent / f"{base}.py"
    if not path.is_file():
        known = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
        check_known("base", base, known)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


def configured(recipe: ModuleType, arguments: Mapping[str, str]) -> ConfigDict:
    """Returns the recipe's config for these arguments."""
    return recipe.get_config(",".join(f"{k}={v}" for k, v in arguments.items()))


def takes(recipe: ModuleType, argument: str) -> bool:
    """Whether a recipe has an argument; which values it may have is another question."""
    try:
        configured(recipe, {argument: ""})
    except InputError as error:
        return "unknown argument" not in str(error)
    return True


def with_defaults(
    recipe: ModuleType, given: Mapping[str, Sequence[str]], testing: bool
) -> dict[str, list[str]]:
    """Returns the values of all arguments, with those tried where none are given.

    Args:
        recipe: the recipe.
        given: argument -> its values.
        testing: whether the recipe has test data of its own.
    """
    several = {name: list(options) for name, options in given.items()}
    if "fold" not in several and takes(recipe, "fold"):
        several["fold"] = [str(number) for number in range(recipe.FOLDS)]
    if "lr" not in several:
        first = {name: options[0] for name, options in several.items()}
        mode = flat(configured(recipe, first).to_dict()).get("mode")
        frozen = mode == "frozen"
        rates = FROZEN_LEARNING_RATES if frozen else common.LEARNING_RATES
        several["lr"] = [str(rate) for rate in rates]
    if "seed" not in several:
        seeds = SEEDS_WITH_TEST if testing else SEEDS
        seeds = SEEDS_WITH_FOLDS if "fold" in several else seeds
        several["seed"] = seeds.split(SEVERAL)
    return several


def axes(
    recipe: ModuleType, first: Mapping[str, str], several: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Returns key of the config -> values to try, nested as the config is.

    Args:
        recipe: the recipe.
        first: argument -> the first of its values.
        several: argument -> all of them.

    Raises:
        InputError: an argument changes no setting, or more than one.
    """
    found = {}
    for name, options in several.items():
        # A single seed is an axis, too: it says which one it is.
        others = options[1:] or ([str(int(options[0]) + 1)] if name == "seed" else [])
        if not others:
            continue
        configs = [
            flat_config(recipe, first | {name: v}) for v in (options[0], *others)
        ]
        keys = {key for other in configs[1:] for key in differences(configs[0], other)}
        if len(keys) != 1:
            raise InputError(
                f"{name}={SEVERAL.join(options)} changes "
                f"{', '.join(sorted(keys)) or 'nothing'}, but an axis of a grid changes "
                "one setting: run one grid for each value, and compare them with "
                "`jaxsed table`"
            )
        (key,) = keys
        found[key] = tuple(config[key] for config in configs[: len(options)])
    return nested(found)


def folds_of(
    recipe: ModuleType, first: Mapping[str, str], folds: Sequence[str], testing: bool
) -> dict[str, Any]:
    """Returns name of a fold -> what it changes, and the data its models are tested on.

    Args:
        recipe: the recipe.
        first: argument -> value.
        folds: numbers of the folds.
        testing: whether each has test data.
    """
    configs = {fold: flat_config(recipe, first | {"fold": fold}) for fold in folds}
    keys = {
        key
        for config in configs.values()
        for key in differences(next(iter(configs.values())), config)
    }
    found = {}
    for fold, config in configs.items():
        changes = nested({key: config[key] for key in sorted(keys)})
        if testing:
            changes["test"] = test_data(recipe, first | {"fold": fold})
        found[f"fold{fold}"] = changes
    return found


def test_data(recipe: ModuleType, arguments: Mapping[str, str]) -> str:
    """Returns the folder that the recipe evaluates on when told to look at test data."""
    config = configured(recipe, dict(arguments) | {"on": "eval"}).to_dict()
    return result_config(config)["data"]["eval"]


def flat_config(recipe: ModuleType, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Returns dotted key -> value of the recipe's config for these arguments."""
    return flat(configured(recipe, arguments).to_dict())
