"""The folder of a grid's cell: whether its run has ended and how, and who is at work."""

import json
import shutil
from pathlib import Path

from jaxsed import locks
from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError
from jaxsed.stages.grid_cells import Cell, result_folder
from jaxsed.training.logs import is_done

FINISHED, DIVERGED, IN_USE, FREE = "finished", "diverged", "in use", "free"
DIVERGED_FILE = "diverged.json"
# What only a run that goes on needs: most of what a cell takes of the disk.
_FOR_GOING_ON = ("checkpoints", "snapshots")


class CellFolder:
    """What a cell's run has left, read anew at every question: other jobs write, too.

    Attributes:
        path: the folder.
        run: where the cell's model and metrics are: of a chain, in its last link.
        test: where the test of its model is.
    """

    def __init__(self, workdir: Path, cell: Cell):
        """Names the folder; nothing is made.

        Args:
            workdir: of the grid.
            cell: one of the grid.
        """
        self.path = workdir / cell.name
        self.run = result_folder(cell.config, self.path)
        self.test = self.path / "test"

    def outcome(self) -> str | None:
        """Returns how the cell ended; None of one that has not."""
        if is_done(self.run / "metrics.jsonl"):
            return FINISHED
        return DIVERGED if (self.path / DIVERGED_FILE).exists() else None

    def take(self) -> str:
        """Locks a cell that is to be run; says what it is otherwise.

        Raises:
            InputError: the folder cannot be made or written to.
        """
        if outcome := self.outcome():
            return outcome
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            locks.hold(self.path)
        except locks.InUse:
            return IN_USE
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be made ({error.strerror}): check its disk and rights"
            ) from error
        return self.outcome() or FREE  # another job may just have finished it

    def diverged(self, reason: str) -> None:
        """Notes that the cell's loss is no longer finite."""
        text = json.dumps({"reason": reason}, indent=2) + "\n"
        write_atomically(self.path / DIVERGED_FILE, text)

    def reason(self) -> str:
        """Returns why a diverged cell ended."""
        text = (self.path / DIVERGED_FILE).read_text(encoding="utf-8")
        return json.loads(text)["reason"]

    def drop_checkpoints(self) -> None:
        """Removes what a run that has ended does not need any more."""
        for name in _FOR_GOING_ON:
            for found in list(self.path.rglob(name)):
                shutil.rmtree(found, ignore_errors=True)
