"""What a grid came to: `grid.json`, and the lines that say so."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed.atomic import write_atomically
from jaxsed.evaluation.repeats import Samples, samples
from jaxsed.stages import selection
from jaxsed.stages.cell_folder import CellFolder
from jaxsed.stages.grid_cells import Cell
from jaxsed.training.logs import evaluations, read_metrics

NAME = "grid.json"
# What of a grid's config decides what it comes to, besides the cells' own.
ASKED = ("axes", "folds", "select", "test")


def read(workdir: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns what a finished grid came to; None if it is not, or was asked for less.

    Args:
        workdir: of the grid.
        config: as it is asked for now.
    """
    try:
        found = json.loads((workdir / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("asked") == _asked(config) else None


def write(
    workdir: Path,
    config: Mapping[str, Any],
    criterion: selection.Criterion,
    cells: Sequence[Cell],
    scores: Mapping[str, float],
    chosen: str,
    finished: Mapping[Cell, CellFolder],
    without: Mapping[str, str],
) -> None:
    """Writes `grid.json`, whole or not at all.

    Args:
        workdir: of the grid.
        config: of the grid.
        criterion: what was selected by.
        cells: all of them.
        scores: name of a cell -> validation score, where it has one.
        chosen: name of the selected setting.
        finished: cells, and what their runs left.
        without: name of a cell without a score -> why.

    Raises:
        InputError: the disk is full, and so on.
    """
    found = selection.by_setting(cells, scores)
    tested = [cell.setting for cell in finished if _final(finished[cell].test)]
    tried = {cell.setting: cell.values for cell in cells}
    result = {
        "asked": _asked(config),
        "metric": criterion.metric,
        "lower_is_better": criterion.lower_is_better,
        "evaluation": criterion.evaluation,
        "settings": [
            {
                "name": name,
                "values": dict(values),
                **_summary(found.get(name)),
                "scores": {c.repeat: scores.get(c.name) for c in _of(cells, name)},
            }
            for name, values in tried.items()
        ],
        "selected": chosen,
        "at_the_edge": selection.at_the_edge(cells, chosen),
        "runs": [
            {
                "run": cell.name,
                "fold": cell.fold,
                "seed": cell.seed,
                "validation": _final(folder.run),
                "test": _final(folder.test),
            }
            for cell, folder in finished.items()
            if cell.setting == chosen
        ],
        # More than one where values were added after a first selection.
        "tested": list(dict.fromkeys(tested)),
        "without_score": dict(without),
    }
    result["test"] = _means(result["runs"])
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_atomically(workdir / NAME, text)


def lines(result: Mapping[str, Any]) -> list[str]:
    """Returns a finished grid in words: every setting, what was selected, its test."""
    width = max(len(setting["name"]) for setting in result["settings"])
    said = []
    for setting in result["settings"]:
        mark = "  selected" if setting["name"] == result["selected"] else ""
        said.append(f"{setting['name']:<{width}}  {_text(setting)}{mark}")
    said.append(f"({result['metric']} on validation data)")
    if result["test"]:
        metrics = result["test"].items()
        said.append(
            "test: " + ", ".join(f"{name} {_text(value)}" for name, value in metrics)
        )
    if len(result["tested"]) > 1:
        said.append(f"tested so far: {', '.join(result['tested'])}")
    for key in result["at_the_edge"]:
        said.append(
            f"the best {key} is at the edge of those tried: more values beyond it may be "
            "better (add them to its axis; what is done stays)"
        )
    for name, reason in result["without_score"].items():
        said.append(f"{name}: {reason}")
    return said


def _of(cells: Sequence[Cell], setting: str) -> list[Cell]:
    return [cell for cell in cells if cell.setting == setting]


def _asked(config: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps({key: config[key] for key in ASKED}))


def _final(folder: Path) -> dict[str, float | None] | None:
    """What the last evaluation in a folder found; None where there is none."""
    found = evaluations(read_metrics(folder / "metrics.jsonl"))
    return found[-1] if found else None


def _means(runs: Collection[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Mean and spread of every test metric that all runs have; None without tests."""
    tests = {(run["fold"], run["seed"]): run["test"] for run in runs}
    if not tests or None in tests.values():
        return None
    first = next(iter(tests.values()))
    found = {}
    for metric in first:
        values = {key: test.get(metric) for key, test in tests.items()}
        if None not in values.values():
            found[metric] = _summary(samples(values))
    return found


def _summary(found: Samples | None) -> dict[str, Any]:
    if found is None:
        return {"mean": None, "spread": None, "n": 0, "over": ""}
    n = len(found.values)
    return {"mean": found.mean, "spread": found.spread, "n": n, "over": found.over}


def _text(summary: Mapping[str, Any]) -> str:
    if summary["mean"] is None:
        return "-"
    if summary["spread"] is None:
        return f"{summary['mean']:.4f}"
    over = f"{summary['n']} {summary['over']}"
    return f"{summary['mean']:.4f} ± {summary['spread']:.4f} over {over}"
