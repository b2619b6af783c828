from pathlib import Path

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.evaluation.significance import epsilon_min
from jaxsed.tables.runs import Run
from jaxsed.tables.table import tabulate

RNG = np.random.default_rng(0)
FULL, ABLATED = (0.465, 0.466, 0.464), (0.441, 0.440, 0.442)


def runs_of(values, metric="psds1", data="test", fold="", **settings):
    return [
        Run(
            Path(f"{fold}{RNG.integers(1 << 30)}"),
            {key.replace("__", "."): value for key, value in settings.items()},
            seed,
            fold,
            {metric: v},
            data,
            metric,
        )
        for seed, v in enumerate(values)
    ]


def table_of(cells, **arguments):
    """`cells`: (row, column) -> runs."""
    runs, rows, columns = [], [], []
    for (row, column), own in cells.items():
        runs += own
        rows += [row] * len(own)
        columns += [column] * len(own)
    return tabulate(runs, rows, columns, **arguments)


def test_mean_spread_best_and_verdict():
    table, left_out = table_of(
        {
            ("full", "beats"): runs_of(FULL),
            ("ablated", "beats"): runs_of(ABLATED),
            ("full", "m2d"): runs_of((0.46, 0.44)),
            ("ablated", "m2d"): runs_of((0.45, 0.46)),
        }
    )
    assert not left_out and table.reference == "full"
    beats, m2d = (table.entries["ablated", name] for name in ("beats", "m2d"))
    assert (beats.verdict, beats.is_best) == ("lower", False)
    assert (m2d.verdict, m2d.is_best) == ("", True)
    assert table.entries["full", "beats"].is_best
    assert table.entries["full", "beats"].verdict is None
    assert beats.samples.mean == pytest.approx(0.441)
    # Corrected for the two models.
    expected = epsilon_min(np.array(FULL), np.array(ABLATED), comparisons=2)
    assert beats.epsilons == (1.0, expected)


def test_less_is_better_of_an_error_rate():
    own = {"metric": "segment_1s_er"}
    table, _ = table_of(
        {("a", "m"): runs_of(FULL, **own), ("b", "m"): runs_of(ABLATED, **own)}
    )
    entry = table.entries["b", "m"]
    assert entry.is_best and entry.verdict == "lower"
    assert entry.epsilons[0] < 0.2 < entry.epsilons[1]


def test_single_runs_are_compared_by_their_mean_alone():
    table, _ = table_of({("a", "m"): runs_of([0.5]), ("b", "m"): runs_of(ABLATED)})
    assert table.entries["b", "m"].verdict is None
    assert table.entries["a", "m"].is_best
    assert table.tests_of("b") == 0


def test_folds_of_a_single_seed_are_what_is_compared():
    cells = {
        (row, "m"): [
            r for k in range(5) for r in runs_of([base + k / 100], fold=f"f{k}")
        ]
        for row, base in (("a", 0.5), ("b", 0.2))
    }
    table, _ = table_of(cells)
    entry = table.entries["b", "m"]
    assert (entry.samples.over, len(entry.samples.values)) == ("folds", 5)
    assert entry.verdict == "lower"


def test_scores_of_another_kind_are_not_tested_against():
    folds = [r for k in range(3) for r in runs_of([0.2 + k / 50], fold=f"f{k}")]
    table, _ = table_of({("a", "m"): runs_of(FULL), ("b", "m"): folds})
    assert table.entries["b", "m"].verdict is None and table.entries["a", "m"].is_best
    assert table.why_untested("b") == ["as folds and seeds are not samples of the same"]

    seen = runs_of(ABLATED, data="validation", data__eval="d/valid")
    table, _ = table_of({("a", "m"): runs_of(FULL, data__eval="d/t"), ("b", "m"): seen})
    assert table.entries["b", "m"].verdict is None
    assert not table.entries["a", "m"].is_best
    assert "test data and the other of validation" in table.why_untested("b")[0]
    # A training that was told to look at the test data.
    seen = runs_of(ABLATED, data="validation", data__eval="d/t")
    table, _ = table_of({("a", "m"): runs_of(FULL, data__eval="d/t"), ("b", "m"): seen})
    assert table.entries["b", "m"].verdict == "lower" and not table.why_untested("b")


def test_the_reference_can_be_named():
    cells = {("a", "m"): runs_of(FULL), ("b", "m"): runs_of(ABLATED)}
    table, _ = table_of(cells, reference="b")
    assert table.entries["a", "m"].verdict == "higher"
    with pytest.raises(InputError, match=r"unknown row 'c'.*Known: a, b"):
        table_of(cells, reference="c")


def test_what_is_asked_for_is_shown_and_runs_without_it_are_named():
    first, second = runs_of([0.1]), runs_of([0.2], metric="map")
    undefined = runs_of([None])
    table, left_out = table_of(
        {("a", "m"): first, ("a", "n"): second, ("b", "m"): undefined},
        metrics=("psds1",),
    )
    assert list(table.entries) == [("a", "m")] and table.rows == ["a"]
    assert left_out[second[0].folder] == "it has no psds1, but map"
    assert left_out[undefined[0].folder] == "its psds1 is not defined"
    either, _ = table_of(
        {("a", "m"): first, ("a", "n"): second}, metrics=("map", "psds1")
    )
    assert either.metrics() == ["psds1", "map"]
    assert either.column_metric("n") == "map"


def test_a_run_that_is_there_twice_counts_once_and_is_named():
    runs = runs_of([0.1]) + runs_of([0.9])
    table, left_out = table_of({("a", "m"): runs})
    assert table.entries["a", "m"].samples.values.tolist() == [0.1]
    assert "same seed" in left_out[runs[1].folder]


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="column m show map and psds1: say which"):
        table_of({("a", "m"): runs_of([1]), ("b", "m"): runs_of([1], metric="map")})
    mixed = runs_of([1]) + runs_of([1, 1], data="validation")[1:]
    with pytest.raises(InputError, match=r"different data \(test, validation\)"):
        table_of({("a", "m"): mixed})
    with pytest.raises(InputError, match=r"no run has a score to show; .*not defined"):
        table_of({("a", "m"): runs_of([None])})
