"""Which setting of a grid is best, by the evaluations of its runs on validation data."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed import metric_order
from jaxsed.errors import InputError, check_known
from jaxsed.evaluation.repeats import Samples, samples
from jaxsed.stages.grid_cells import Cell, result_config
from jaxsed.training.logs import evaluations, read_metrics

LAST, BEST = "last", "best"


@dataclasses.dataclass(frozen=True)
class Criterion:
    """What a run is judged by.

    Attributes:
        metric: as evaluations call it, without `eval/`.
        evaluation: `last`, which is that of the model that the run left, or `best` of
            all.
    """

    metric: str
    evaluation: str = LAST

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Criterion":
        """Reads `select` of a grid's config; the metric is the base's first by default.

        Raises:
            InputError: the base does not evaluate that metric, or no such evaluation.
        """
        metrics = result_config(config["base"])["eval"]["metrics"]
        select = config["select"]
        metric = select["metric"] or metrics[0]
        check_known("select.metric", metric, metrics)
        check_known("select.evaluation", select["evaluation"], (LAST, BEST))
        return cls(metric, select["evaluation"])

    @property
    def lower_is_better(self) -> bool:
        """Whether less of the metric is better, as of an error rate."""
        return metric_order.lower_is_better(self.metric)

    def score(self, folder: Path) -> float | None:
        """Returns what a finished run came to; None where the metric is not defined.

        Args:
            folder: that holds the run's `metrics.jsonl`.
        """
        found = [
            values[self.metric]
            for values in evaluations(read_metrics(folder / "metrics.jsonl"))
            if self.metric in values
        ]
        if self.evaluation == BEST:
            known = [value for value in found if value is not None]
            return self.best(known) if known else None
        return found[-1] if found else None

    def best(self, values: Sequence[float]) -> float:
        """Returns the best of some values of the metric."""
        return metric_order.best(self.metric, values)


def by_setting(
    cells: Sequence[Cell], scores: Mapping[str, float]
) -> dict[str, Samples]:
    """Returns the samples of every setting whose selecting runs all have a score.

    Args:
        cells: of the grid.
        scores: name of a cell -> its score; without those that have none.
    """
    grouped: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.selects:
            grouped.setdefault(cell.setting, []).append(cell)
    return {
        setting: samples({(c.fold, c.seed): scores[c.name] for c in own})
        for setting, own in grouped.items()
        if all(c.name in scores for c in own)
    }


def choose(found: Mapping[str, Samples], criterion: Criterion) -> str:
    """Returns the name of the setting with the best mean; of equal ones the first.

    Raises:
        InputError: there is none to choose from.
    """
    if not found:
        raise InputError(
            f"no setting of the grid can be selected: every one has a run without "
            f"{criterion.metric}; look at the runs named above"
        )
    means = {setting: own.mean for setting, own in found.items()}
    best = criterion.best(list(means.values()))
    return next(setting for setting, mean in means.items() if mean == best)


def at_the_edge(cells: Sequence[Cell], chosen: str) -> list[str]:
    """Returns the keys whose chosen value is the first or last of three or more numbers.

    Beyond it there may be a better one: the grid was too small.

    Args:
        cells: of the grid.
        chosen: name of the setting.
    """
    values = next(cell.values for cell in cells if cell.setting == chosen)
    edges = []
    for key, value in values.items():
        tried = {cell.values[key] for cell in cells}
        is_number = all(type(other) in (int, float) for other in tried)
        if is_number and len(tried) > 2 and value in (min(tried), max(tried)):
            edges.append(key)
    return edges
