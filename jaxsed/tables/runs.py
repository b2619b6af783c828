"""Finished runs, read from their folders: what each was, and what it scored.

A training gives one run; a grid those of its selected setting; phases one; a chain one for
each of its links that was scored; a folder that is no run, all in the folders below it.
What cannot be used is named with the reason.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxsed.dotted import flat
from jaxsed.training.logs import evaluations, read_metrics

TEST, VALIDATION = "test", "validation"
UNSCORED_STAGES = ("scenes", "summary")
_DEEPEST = 4  # folders below one that is no run


@dataclasses.dataclass(frozen=True)
class Run:
    """A run and its scores.

    Attributes:
        folder: of the run.
        settings: dotted key -> value of its config; of a run of a grid, without the keys
            that the grid tuned; of a test, of the training where that is there.
        seed: of the run; None where it has none.
        fold: name of the fold; "" where there are none.
        scores: metric -> value, None where it is not defined.
        data: `test`, or `validation` for the data that a training evaluates on.
        metric: what the run is judged by unless somebody asks for another.
    """

    folder: Path
    settings: Mapping[str, Any]
    seed: Any
    fold: str
    scores: Mapping[str, float | None]
    data: str
    metric: str


class Unusable(Exception):
    """A folder that gives no run; the message says why."""


class Finder:
    """Collects the runs in folders.

    Attributes:
        runs: in the order of the folders, each once.
        unusable: folder -> why it gives no run.
    """

    def __init__(self):
        self.runs: list[Run] = []
        self.unusable: dict[Path, str] = {}

    def visit(self, folder: Path) -> list[Run]:
        """Reads a folder and what lies in it; returns its runs, which are kept as well."""
        before = len(self.runs)
        try:
            if (folder / "config.json").exists():
                self._visit_run(folder)
            else:
                for inner in _run_folders(folder):
                    self.visit(inner)
        except Unusable as problem:
            self.unusable[folder] = str(problem)
        return self.runs[before:]

    def _visit_run(self, folder: Path) -> None:
        config = _read_config(folder)
        stage, has_metrics = config["stage"], (folder / "metrics.jsonl").exists()
        if stage == "grid":
            for run in _of_grid(folder, config):
                self._keep(run)
        elif stage == "chain" and not has_metrics:
            links = {name: config["links"][name] for name in config["order"]}
            if all(name.startswith("phase") for name in links):
                raise Unusable("its phases are not finished")
            for name, link in links.items():
                if link["stage"] not in UNSCORED_STAGES:
                    self.visit(folder / name)
        else:
            self._keep(_of_training(folder, config))

    def _keep(self, run: Run) -> None:
        if run.folder.resolve() not in [other.folder.resolve() for other in self.runs]:
            self.runs.append(run)


def _run_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise Unusable("there is no such folder")
    try:
        found = list(_below(folder, _DEEPEST))
    except OSError as error:
        raise Unusable(f"it cannot be read ({error.strerror})") from error
    if not found:
        raise Unusable("no run is in it: there is no config.json in it or below")
    return found


def _below(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if (path / "config.json").exists():
            yield path
        elif depth > 1 and path.is_dir() and not path.name.startswith("."):
            yield from _below(path, depth - 1)


def _read_config(folder: Path) -> Mapping[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["stage"], str):
            return config
    except (OSError, ValueError, TypeError, KeyError):
        pass
    raise Unusable("its config.json is damaged, or not that of a run")


def _of_training(folder: Path, config: Mapping[str, Any]) -> Run:
    """Returns a training, an ensemble, a test, or phases that are finished."""
    lines = read_metrics(folder / "metrics.jsonl")
    if not lines or not lines[-1].get("done", False):
        steps = config.get("steps")
        at = f" (step {lines[-1]['step']} of {steps})" if lines and steps else ""
        raise Unusable(f"it is not finished{at}")
    found = evaluations(lines)
    if not found:
        raise Unusable("it was never evaluated")
    is_test = config["stage"] == "test"
    settings = (_of_test if is_test else _settings)(config)
    return Run(
        folder=folder,
        settings=settings,
        seed=settings.get("seed"),
        fold="",
        scores=found[-1],
        data=TEST if is_test else VALIDATION,
        metric=_first_metric(settings, found[-1]),
    )


def _of_test(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the run that left the model, evaluated as the test did.

    So tests of several seeds are one cell. Of a model whose run is not here, those of the
    test alone.
    """
    own = _settings(config)
    try:
        trained = _settings(_read_config(Path(config["model"]).parent))
    except (Unusable, KeyError, IndexError):
        return own
    evaluation = {k: v for k, v in own.items() if k.startswith(("eval.", "data.eval"))}
    return {k: v for k, v in trained.items() if not k.startswith("eval.")} | evaluation


def _of_grid(folder: Path, config: Mapping[str, Any]) -> Iterator[Run]:
    """Yields the runs of a finished grid's selected setting: tested, if any is."""
    try:
        result = json.loads((folder / "grid.json").read_text(encoding="utf-8"))
        runs, metric = result["runs"], result["metric"]
    except FileNotFoundError:
        raise Unusable("the grid is not finished: it has no grid.json") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise Unusable("its grid.json is damaged") from None
    tuned = _tuned(config)
    settings = {k: v for k, v in _settings(config["base"]).items() if k not in tuned}
    tested = all(run["test"] for run in runs)
    if tested:  # not on what it was selected by
        settings["data.eval"] = _test_data(config)
    for run in runs:
        yield Run(
            folder=folder / run["run"],
            settings=settings,
            seed=run["seed"],
            fold=run["fold"],
            scores=run["test"] if tested else run["validation"],
            data=TEST if tested else VALIDATION,
            metric=metric,
        )


def _tuned(config: Mapping[str, Any]) -> set[str]:
    """Returns the keys of a grid's axes, as `_settings` calls them."""
    base, keys = config["base"], set(flat(config["axes"]))
    while base["stage"] in ("phases", "chain"):
        if base["stage"] == "phases":
            base, within = base["training"], "training."
        else:
            last = base["order"][-1]
            base, within = base["links"][last], f"links.{last}."
        keys = {key.removeprefix(within) for key in keys}
    return keys


def _test_data(config: Mapping[str, Any]) -> str:
    """Returns the test data of a grid; where each fold has its own, of the first one."""
    folds = config["folds"].values()
    return next((fold["test"] for fold in folds if "test" in fold), config["test"])


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config by dotted keys: of phases and chains, of the training at their end."""
    if config["stage"] == "phases":
        return {**_settings(config["training"]), "phases": config["factors"]}
    if config["stage"] == "chain":
        links = [config["links"][name] for name in config["order"]]
        phases = [link["model"]["compression"] for link in links if "model" in link]
        return {**_settings(links[-1]), "phases": phases}
    return flat(config)


def _first_metric(settings: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    asked = settings.get("eval.metrics") or ()
    return next((name for name in asked if name in scores), next(iter(scores)))
