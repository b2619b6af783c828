"""A table of scores: a cell for each method and model, compared with a reference row."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxsed import metric_order
from jaxsed.errors import InputError, check_known
from jaxsed.evaluation.repeats import Samples, samples
from jaxsed.evaluation.significance import ALPHA, BETTER_BELOW, epsilon_min
from jaxsed.tables.runs import Run

HIGHER, LOWER = "higher", "lower"
# (fold, seed) -> a run of the cell, and what it shows.
_Scored = dict[tuple[str, int], tuple[Run, str]]


@dataclasses.dataclass(frozen=True)
class Entry:
    """Scores of one method with one model.

    Attributes:
        samples: one a seed, or one a fold.
        metric: what they are of.
        data: `test`, or `validation`.
        evaluated_on: the folder of these data.
        is_best: whether no other row of the column has a better mean.
        verdict: against the reference row: `higher` or `lower` with significance, ""
            where neither is, and None where that was not tested.
        epsilons: epsilon_min of "better than the reference" and of "the reference is
            better"; None where not tested.
    """

    samples: Samples
    metric: str
    data: str
    evaluated_on: str = ""
    is_best: bool = False
    verdict: str | None = None
    epsilons: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """What is printed.

    Attributes:
        rows: names of the methods, in order.
        columns: names of the models.
        entries: (row, column) -> entry, where there are runs.
        reference: the row that others are compared with; None where none is.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    entries: Mapping[tuple[str, str], Entry]
    reference: str | None

    def metrics(self) -> list[str]:
        """Returns what is shown in the columns, each once."""
        return list(dict.fromkeys(entry.metric for entry in self.entries.values()))

    def column_metric(self, column: str) -> str:
        """Returns what is shown in a column."""
        return next(e.metric for (_, name), e in self.entries.items() if name == column)

    def why_untested(self, row: str) -> list[str]:
        """Returns why a row was not compared with the reference, of columns of both."""
        pairs = (
            (self.entries.get((r, c)) for r in (row, self.reference))
            for c in self.columns
        )
        found = (_why_untested(*pair) for pair in map(tuple, pairs) if all(pair))
        return list(dict.fromkeys(filter(None, found)))

    def tests_of(self, row: str) -> int:
        """Returns how many columns a row was compared with the reference in."""
        own = (self.entries.get((row, column)) for column in self.columns)
        return sum(entry is not None and entry.epsilons is not None for entry in own)


def tabulate(
    runs: Sequence[Run],
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str] = (),
    reference: str | None = None,
) -> tuple[Table, dict[Path, str]]:
    """Puts runs into cells and compares the rows.

    Args:
        runs: finished ones.
        rows: the row of each.
        columns: the column of each.
        metrics: a run shows the first of these that it has; empty for its own.
        reference: row to compare all others with; the first by default.

    Returns:
        The table, and folder -> why a run is not in it.

    Raises:
        InputError: no run has what is to be shown, runs of one column show different
            metrics, or there is no such row.
    """
    scored, left_out = _collected(runs, rows, columns, metrics)
    if not scored:
        raise InputError(
            "no run has a score to show"
            + "".join(f"; {path}: {reason}" for path, reason in left_out.items())
        )
    entries = {place: _entry(place, of_cell) for place, of_cell in scored.items()}
    shown_rows = [row for row in dict.fromkeys(rows) if row in {r for r, _ in entries}]
    shown_columns = list(dict.fromkeys(columns))
    shown_columns = [c for c in shown_columns if c in {c for _, c in entries}]
    for column in shown_columns:
        _check_column(column, entries)
    if reference is not None:
        check_known("row", reference, shown_rows)
    if len(shown_rows) < 2:
        return Table(shown_rows, shown_columns, entries, None), left_out
    table = Table(shown_rows, shown_columns, entries, reference or shown_rows[0])
    return _compared(table), left_out


def _collected(
    runs: Sequence[Run],
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str],
) -> tuple[dict[tuple[str, str], _Scored], dict[Path, str]]:
    """Returns the runs of each cell, and why others are in none."""
    left_out: dict[Path, str] = {}
    scored: dict[tuple[str, str], _Scored] = {}
    for run, row, column in zip(runs, rows, columns):
        metric = _metric(run, metrics)
        of_cell = scored.get((row, column), {})
        if run.scores.get(metric) is None:
            left_out[run.folder] = _lacking(run, metric, metrics)
        elif (run.fold, run.seed) in of_cell:
            earlier, _ = of_cell[run.fold, run.seed]
            left_out[run.folder] = (
                f"{earlier.folder} is the same cell ({row}; {column}) with the same "
                "seed: give one of them, or tell the rows apart with NAME=RUN"
            )
        else:
            scored.setdefault((row, column), {})[run.fold, run.seed] = (run, metric)
    return scored, left_out


def _metric(run: Run, metrics: Sequence[str]) -> str:
    if not metrics:
        return run.metric
    return next((name for name in metrics if name in run.scores), metrics[0])


def _lacking(run: Run, metric: str, metrics: Sequence[str]) -> str:
    if metric in run.scores:
        return f"its {metric} is not defined"
    return f"it has no {' or '.join(metrics or [metric])}, but {', '.join(run.scores)}"


def _entry(place: tuple[str, str], of_cell: _Scored) -> Entry:
    for what, values in (
        ("data", {run.data for run, _ in of_cell.values()}),
        ("metrics", {metric for _, metric in of_cell.values()}),
    ):
        if len(values) > 1:
            row, column = place
            raise InputError(
                f"runs of {row} with {column} are scored by different {what} "
                f"({', '.join(sorted(values))}): give runs of one kind, or --metric"
            )
    scores = {key: run.scores[metric] for key, (run, metric) in of_cell.items()}
    run, metric = next(iter(of_cell.values()))
    evaluated_on = str(run.settings.get("data.eval", ""))
    return Entry(samples(scores), metric, run.data, evaluated_on)


def _check_column(column: str, entries: Mapping[tuple[str, str], Entry]) -> None:
    metrics = {entry.metric for (_, name), entry in entries.items() if name == column}
    if len(metrics) > 1:
        raise InputError(
            f"runs of column {column} show {' and '.join(sorted(metrics))}: say which to "
            "show with --metric"
        )


def _compared(table: Table) -> Table:
    entries = dict(table.entries)
    for column in table.columns:
        own = {row: e for (row, name), e in entries.items() if name == column}
        best = max(
            metric_order.sign(entry.metric) * entry.samples.mean
            for entry in own.values()
        )
        for row, entry in own.items():
            is_best = (
                len(own) > 1
                and all(_are_of_like_data(entry, other) for other in own.values())
                and metric_order.sign(entry.metric) * entry.samples.mean == best
            )
            entries[row, column] = dataclasses.replace(entry, is_best=is_best)
    for row in table.rows:
        if row != table.reference:
            entries |= _against(table.reference, row, table.columns, entries)
    return dataclasses.replace(table, entries=entries)


def _against(
    reference: str,
    row: str,
    columns: Sequence[str],
    entries: Mapping[tuple[str, str], Entry],
) -> dict[tuple[str, str], Entry]:
    """Returns the row's entries with the verdicts of the test, corrected for its columns."""
    pairs = {
        column: (entries[row, column], entries[reference, column])
        for column in columns
        if (row, column) in entries and (reference, column) in entries
    }
    pairs = {c: pair for c, pair in pairs.items() if not _why_untested(*pair)}
    found = {}
    for column, (own, other) in pairs.items():
        sign = metric_order.sign(own.metric)
        a, b = sign * own.samples.values, sign * other.samples.values
        above = epsilon_min(a, b, comparisons=len(pairs), alpha=ALPHA)
        below = epsilon_min(b, a, comparisons=len(pairs), alpha=ALPHA)
        better, worse = above < BETTER_BELOW, below < BETTER_BELOW
        if sign < 0:
            better, worse = worse, better
        verdict = HIGHER if better else LOWER if worse else ""
        found[row, column] = dataclasses.replace(
            own, verdict=verdict, epsilons=(above, below)
        )
    return found


def _why_untested(own: Entry, other: Entry) -> str:
    """Returns why a test of these two would say nothing; "" where it does."""
    if not _are_of_like_data(own, other):
        return "as one is of test data and the other of validation data"
    if min(len(entry.samples.values) for entry in (own, other)) < 2:
        return "for want of a second run"
    if own.samples.over != other.samples.over:
        # Means over folds lie closer together than folds do.
        of = " and ".join(sorted((own.samples.over, other.samples.over)))
        return f"as {of} are not samples of the same"
    return ""


def _are_of_like_data(own: Entry, other: Entry) -> bool:
    """Whether scores tell models apart, and not what these were selected or tested on.

    Where it is the same folder, what one run was told to validate on tests another one.
    """
    if own.data == other.data:
        return True
    return own.evaluated_on == other.evaluated_on != ""
