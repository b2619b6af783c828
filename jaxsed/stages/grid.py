"""A training for every learning rate, fold and seed; the best setting is tested once.

    python -m jaxsed.main --config=configs/grid.py:base=student,model=beats --workdir=runs/grid

Every cell of the grid is a run in a folder of its own, `WORKDIR/SETTING/REPEAT`, which goes
on where it was stopped like any run. When all are done, the setting with the best
mean on validation data is selected, its models are evaluated on test data, and
`WORKDIR/grid.json` says what came of it. Nothing that is there is done again.

Any number of jobs may run the same command on the same folder at the same time: each
takes the next cell that nobody holds (a lock that the system lets go of when a job dies),
and the one that finds all cells done selects and tests. With `--config.part=3/16` a job
trains every 16th cell only.

A run whose loss is no longer finite is a result: its setting is out, and no restart tries
it again. Any other failure (a full disk, too little memory) leaves its cell to the next
start of the command, and nothing is selected before all cells are done. Either way the
others go on, the cell is named, and the exit status is 3.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxsed import locks
from jaxsed.data.records import PreparedData
from jaxsed.dotted import flat
from jaxsed.errors import InputError, PartlyDone, check_known
from jaxsed.stages import grid_result, selection, testing
from jaxsed.stages.cell_folder import DIVERGED, FINISHED, FREE, CellFolder
from jaxsed.stages.chain import Stage
from jaxsed.stages.grid_cells import Cell, expand, result_config
from jaxsed.stages.share import Share
from jaxsed.stages.workdir import agree
from jaxsed.training import processes
from jaxsed.training.divergence import Diverged

TEST_LOCK = "test.lock"
# What may differ from start to start: cells that are there stay what they are.
MAY_CHANGE = ("part", "axes", "select", "test")
NAMED_CELLS = 6  # that a message lists; all are in the result


def run(config: Mapping[str, Any], workdir: Path, stages: Mapping[str, Stage]) -> None:
    """Trains what is missing, selects, tests, and writes `grid.json`.

    Args:
        config: `base` (config of any stage that trains, or a chain that ends with one),
            `axes` (nested as the base is; the values of a key), `folds` (name -> what
            differs from the base, and `test`), `test` (prepared folder, or nothing),
            `select` (`metric`, `evaluation`, and of how many `seeds` and `folds`, 0 for
            all) and `part`.
        workdir: the grid's folder. Values may be added to the axes later.
        stages: name -> stage.

    Raises:
        InputError: the config makes no grid, or is another than the folder's; or no cell
            could be trained.
        PartlyDone: some cells failed; all others are done.
    """
    _check_base(config["base"], stages)
    share = Share.of(config["part"]) if config["part"] else Share(0, 1)
    criterion = selection.Criterion.of(config)
    cells = expand(config, workdir)
    tried = (f"base.{key}" for key in flat(config["axes"]))
    agree(workdir, config, (*MAY_CHANGE, *tried))
    result = processes.on_first(lambda: grid_result.read(workdir, config))
    if result is None:
        for test in {cell.test for cell in cells if cell.test}:
            PreparedData(test)  # that it is there is better known before than after
        result = Grid(workdir, cells, criterion, stages).run(config, share)
    if result is not None:
        _report(result, workdir)


class Grid:
    """A grid at work.

    Args:
        workdir: its folder.
        cells: all of them, in the order to run them.
        criterion: what runs are judged by.
        stages: name -> stage.
    """

    def __init__(
        self,
        workdir: Path,
        cells: Sequence[Cell],
        criterion: selection.Criterion,
        stages: Mapping[str, Stage],
    ):
        self._workdir, self._cells = workdir, cells
        self._criterion, self._stages = criterion, stages
        self._folders = {cell: CellFolder(workdir, cell) for cell in cells}
        self._failures: dict[str, str] = {}  # name of a cell -> why

    def run(self, config: Mapping[str, Any], share: Share) -> dict[str, Any] | None:
        """Does what is left; returns the result unless other jobs are still at work.

        Args:
            config: of the grid.
            share: the part of the cells that this job is to train.

        Raises:
            InputError: no cell could be trained, or no setting can be selected.
            PartlyDone: some cells failed, and have to be tried again.
        """
        selecting = [cell for cell in self._cells if cell.selects]
        self._train(selecting[share.index :: share.count])
        if left := self._unfinished(selecting):
            _say(f"this job is done; other jobs or parts have {len(left)} cells left")
            return None
        processes.on_first(self._drop_checkpoints)
        # Every job comes to the same choice, so several may train what it leaves.
        chosen = processes.on_first(self._choose)
        cells = [cell for cell in self._cells if cell.setting == chosen]
        self._train(cells)  # what the selection did not look at
        if left := self._unfinished(cells):
            _say(
                f"this job is done; other jobs have {len(left)} cells of {chosen} left"
            )
            return None
        if not processes.on_first(self._begin_tests):
            _say("this job is done; another one tests")
            return None
        self._test(cells)
        processes.on_first(lambda: self._write(config, chosen))
        processes.on_first(self._end_tests)
        return processes.on_first(lambda: grid_result.read(self._workdir, config))

    def _train(self, cells: Sequence[Cell]) -> None:
        """Runs those cells that have not ended and are with no other job, each once.

        Raises:
            InputError: some failed, and no cell of the grid has come to an end.
            PartlyDone: some failed.
        """
        took_one = True
        while took_one:
            took_one = False
            for number, cell in enumerate(cells, start=1):
                if cell.name in self._failures:
                    continue
                if processes.on_first(self._folders[cell].take) == FREE:
                    _say(f"cell {number} of {len(cells)}: {cell.name}")
                    self._attempt(cell)
                    took_one = True
        if self._failures:
            message = (
                f"{len(self._failures)} of {len(self._cells)} cells failed, and the same "
                f"command tries them again: {_listed(self._failures)}"
            )
            none_ended = len(self._unfinished(self._cells)) == len(self._cells)
            raise InputError(message) if none_ended else PartlyDone(message)

    def _attempt(self, cell: Cell) -> None:
        folder = self._folders[cell]
        try:
            self._stages[cell.config["stage"]](cell.config, folder.path)
            processes.on_first(folder.drop_checkpoints)
        except Diverged as error:
            reason = str(error)
            _say(f"{cell.name}: {reason}")
            processes.on_first(lambda: folder.diverged(reason))
            processes.on_first(folder.drop_checkpoints)
        except (InputError, OSError, RuntimeError) as error:
            explained = processes.explained(error)
            # Another process may be waiting for this one in the middle of a step.
            if explained is None or jax.process_count() > 1:
                raise
            self._failures[cell.name] = explained
            _say(f"{cell.name}: {explained}")

    def _unfinished(self, cells: Sequence[Cell]) -> list[Cell]:
        left = processes.on_first(
            lambda: [cell.name for cell in cells if not self._folders[cell].outcome()]
        )
        return [cell for cell in cells if cell.name in left]

    def _finished(self) -> list[Cell]:
        return [
            c for c, folder in self._folders.items() if folder.outcome() == FINISHED
        ]

    def _drop_checkpoints(self) -> None:
        """Removes those of cells whose job was stopped between their end and that."""
        for folder in self._folders.values():
            if folder.outcome():
                folder.drop_checkpoints()

    def _begin_tests(self) -> bool:
        path = self._workdir / TEST_LOCK
        try:
            self._lock = locks.take(path, f"the test of {self._workdir}")
        except locks.InUse:
            return False
        return True

    def _end_tests(self) -> None:
        (self._workdir / TEST_LOCK).unlink(missing_ok=True)
        self._lock.close()

    def _choose(self) -> str:
        found = selection.by_setting(self._cells, self._scores())
        return selection.choose(found, self._criterion)

    def _scores(self) -> dict[str, float]:
        """Returns name -> validation score of every cell that is finished and has one."""
        found = {
            cell.name: self._criterion.score(self._folders[cell].run)
            for cell in self._finished()
        }
        return {name: score for name, score in found.items() if score is not None}

    def _test(self, cells: Sequence[Cell]) -> None:
        finished = processes.on_first(lambda: [cell.name for cell in self._finished()])
        for cell in cells:
            if cell.test and cell.name in finished:
                folder = self._folders[cell]
                training = result_config(cell.config)
                test = testing.test_config(training, folder.run / "model", cell.test)
                self._stages[test["stage"]](test, folder.test)

    def _write(self, config: Mapping[str, Any], chosen: str) -> None:
        folders, scores = self._folders, self._scores()
        without = {}
        for cell, folder in folders.items():
            if folder.outcome() == DIVERGED:
                without[cell.name] = folder.reason()
            elif folder.outcome() == FINISHED and cell.name not in scores:
                without[cell.name] = f"its {self._criterion.metric} is not defined"
        runs = {cell: folders[cell] for cell in self._finished()}
        grid_result.write(
            self._workdir,
            config,
            self._criterion,
            self._cells,
            scores,
            chosen,
            runs,
            without,
        )


def _check_base(base: Mapping[str, Any], stages: Mapping[str, Stage]) -> None:
    check_known("stage of a grid's base", base["stage"], stages)
    last = result_config(base)
    if "steps" not in last:  # it trains nothing
        raise InputError(
            f"a grid's base ends with the stage {last['stage']}: expected a training, "
            "phases, or a chain that ends with one"
        )


def _report(result: Mapping[str, Any], workdir: Path) -> None:
    """Prints what came of a grid.

    Raises:
        PartlyDone: some of its runs have no score.
    """
    if processes.is_first():
        print("\n".join(grid_result.lines(result)))
        print(f"all of it is in {workdir / grid_result.NAME}")
    without = result["without_score"]
    if without:
        n_cells = sum(len(setting["scores"]) for setting in result["settings"])
        raise PartlyDone(
            f"no score from {len(without)} of {n_cells} cells: {_listed(without)}"
        )


def _listed(reasons: Mapping[str, str]) -> str:
    """Names cells, with the reason of the first: often it is that of all."""
    first, *others = reasons
    more = ", ".join(others[: NAMED_CELLS - 1])
    if len(others) >= NAMED_CELLS:
        more += f" and {len(others) - NAMED_CELLS + 1} more"
    return f"{first}: {reasons[first]}" + (f"; also {more}" if others else "")


def _say(text: str) -> None:
    if processes.is_first():
        print(f"jaxsed: {text}", file=sys.stderr)
