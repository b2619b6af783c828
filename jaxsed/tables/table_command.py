"""Write a paper's table from run folders: mean, spread and significance.

  jaxsed table runs/student_* runs/teacher_*
  jaxsed table "with KD=runs/student_*" "without KD=runs/teacher_*_no_rnn_*"
  jaxsed table runs/dcase2016_* --columns mode --format latex --out table2.tex

RUNS are folders that `python -m jaxsed.main --workdir=RUN` wrote: trainings, ensembles,
phases, grids, chains, tests, or a folder with such folders in it. Runs that differ in
nothing but their seed are one cell of the table: their mean ± standard deviation. A grid
stands for the runs of the setting it selected, all seeds and folds, and shows their scores
on test data if it tested.

Columns are models (--columns names other keys of config.json). Rows are what else the runs
differ in, as their config.json says; or what you call them: NAME=RUN begins a row, and the
RUNS that follow belong to it until the next NAME=. Quote a pattern with a NAME.

In every column the best mean is bold. Every row is compared with one row, the first, or
that of --reference, by Almost Stochastic Order (alpha = 0.05, with Bonferroni's correction
for the number of columns; better where epsilon_min is below 0.2), as in Effective
Pre-Training, Table I. That needs two runs or more in both cells, and scores of the same
kind. What was compared with what is written below the table.

Exit status: 0 all runs are in the table; 3 some are not, and are named; 1 none is.
"""

import argparse
import itertools
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from jaxsed.errors import InputError, nearest

_MODEL = "model.encoder"
_SHOWN_KEYS = 8
_SUFFIXES = {".md": "md", ".csv": "csv", ".tex": "latex"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed table`."""
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUNS",
        help="folders of runs; NAME=RUN gives the row a name",
    )
    parser.add_argument(
        "--metric",
        type=_names,
        default=(),
        metavar="A,B",
        help="what to show: the first of these that a run has (default: what a grid "
        "selected by, or the first of the run's eval.metrics)",
    )
    parser.add_argument(
        "--columns",
        type=_names,
        default=(_MODEL,),
        metavar="KEYS",
        help="keys of config.json that make the columns (default: model.encoder)",
    )
    parser.add_argument(
        "--ignore",
        type=_names,
        default=(),
        metavar="KEYS",
        help="keys of config.json that make no rows, such as optim.max_lr where it was "
        "tuned by hand",
    )
    parser.add_argument(
        "--reference", metavar="ROW", help="row to compare with (default: the first)"
    )
    parser.add_argument(
        "--format", choices=sorted(set(_SUFFIXES.values())), help="(default: md)"
    )
    parser.add_argument(
        "--digits",
        type=int,
        choices=range(7),
        default=1,
        metavar="N",
        help="after the point, of percentages (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write there (.md, .csv, .tex)"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed table`; returns its exit status.

    Raises:
        InputError: no run can be shown, or the arguments do not fit the runs.
    """
    from jaxsed.atomic import write_atomically
    from jaxsed.tables import formats
    from jaxsed.tables.methods import column_of, lumped, rows
    from jaxsed.tables.runs import Finder
    from jaxsed.tables.table import tabulate

    finder = Finder()
    given = {}  # folder of a run -> name of its row
    for name, folder in _folders(args.runs):
        for found in finder.visit(folder):
            given[found.folder] = name
    runs = finder.runs
    if not runs:
        problems = (f"{path}: {reason}" for path, reason in finder.unusable.items())
        raise InputError(f"no run can be shown; {'; '.join(problems)}")
    _check_columns(args.columns, {key for found in runs for key in found.settings})
    columns = [column_of(found, args.columns) for found in runs]
    ignored = {*args.columns, *args.ignore}
    derived = rows(runs, columns, ignored)
    names = [given[found.folder] or name for found, name in zip(runs, derived.names)]
    table, left_out = tabulate(runs, names, columns, args.metric, args.reference)
    problems = finder.unusable | left_out
    notes = formats.notes(table)
    if derived.unsaid and not all(given.values()):
        notes.append(f"Rows differ in more than they say: {_some(derived.unsaid)}.")
    shown = [not left_out.keys() & {found.folder} for found in runs]
    cells = lumped(
        list(itertools.compress(runs, shown)),
        list(itertools.compress(zip(names, columns), shown)),
        ignored,
    )
    for (row, column), keys in cells.items():
        notes.append(
            f"Runs of {row} with {column} are no repeats: {_some(keys)} differ."
        )
    notes += [f"Left out: {path}: {reason}." for path, reason in problems.items()]
    chosen = args.format or _SUFFIXES.get(args.out.suffix if args.out else "", "md")
    text = formats.FORMATS[chosen](table, args.digits, notes)
    if args.out:
        write_atomically(args.out, text, parents=True)
    else:
        sys.stdout.write(text)
    for path, reason in problems.items():
        print(f"left out: {path}: {reason}", file=sys.stderr)
    return 3 if problems else 0


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:_SHOWN_KEYS]) + ", ..." * (len(keys) > _SHOWN_KEYS)


def _check_columns(asked: Sequence[str], known: Collection[str]) -> None:
    for key in asked:
        if key not in known and key != _MODEL:  # a test says nothing of its model
            guess = nearest(key, known)
            hint = f"did you mean {guess!r}? " if guess else ""
            raise InputError(
                f"--columns {key}: no run has this key; {hint}config.json has them all"
            )


def _folders(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    """Returns (name of the row or "", folder) of every folder that is meant.

    Raises:
        InputError: a pattern fits nothing, or a name has no folder.
    """
    found: list[tuple[str, Path]] = []
    row = ""
    for argument in arguments:
        pattern = argument
        if not Path(argument).exists() and "=" in argument:
            row, _, pattern = argument.partition("=")
            row = row.strip()
            if not row:
                raise InputError(f"{argument}: expected a name before =, as in KD=RUN")
        if pattern:
            found += [(row, path) for path in _matching(pattern)]
    if row and row not in (name for name, _ in found):
        raise InputError(f"row {row!r} has no runs: name their folders after it")
    return found


def _matching(pattern: str) -> list[Path]:
    import glob

    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [Path(pattern)]  # whether it is there is seen when it is read
    paths = sorted(Path(path) for path in glob.glob(pattern) if Path(path).is_dir())
    if not paths:
        raise InputError(f"no folder fits {pattern}: check the path")
    return paths
