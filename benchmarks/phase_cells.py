"""What `benchmarks.coarse_to_fine` trains, and the results that are there."""

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from configs import coarse_to_fine as recipe
from jaxsed.atomic import write_atomically
from jaxsed.stages import phases

METHODS = ("fshift", "avg_pool", "max_pool", "patch_bl", "patch_pi")
PHASES = ("4-1", "2-1", "4-2-1")


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained, and how long.

    Attributes:
        stage: `weak` or `strong`.
        encoder: name in `models.sed.ENCODERS`.
        steps: of the baseline.
        head: see `models.heads`.
        max_lr: learning rate after the warm-up.
    """

    stage: str
    encoder: str
    steps: int
    head: str = "linear"
    max_lr: float = 1e-3

    @property
    def metric(self) -> str:
        """What counts of an evaluation."""
        return recipe.METRICS[self.stage]


CASES = {
    "clip_tiny": Case("weak", "tiny_fpasst", 1000),
    "frame_tiny": Case("strong", "tiny_atst_frame", 1000),
    "clip_mid": Case("weak", "mid_atst_frame", 500, max_lr=5e-4),
    "frame_mid": Case("strong", "mid_atst_frame", 500, max_lr=5e-4),
    "clip_ast": Case("weak", "tiny_ast_s16", 1200, "tokens"),
}


def scaled(case: Case, scale: float) -> Case:
    """Returns the case with other numbers of steps."""
    return dataclasses.replace(case, steps=round(scale * case.steps))


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to train: phases of falling compression; the baseline is one phase."""

    method: str = "none"
    phases: str = "1"

    @property
    def title(self) -> str:
        """What the table calls it."""
        if self.phases == "1":
            return "baseline"
        return f"{'restart' if self.method == 'none' else self.method} {self.phases}"

    @property
    def compressions(self) -> list[str]:
        """Of each phase, as configs spell them."""
        found = phases.read_factors(self.phases)
        return ["none" if c == 1 else f"{self.method}-{c}" for c in found]


BASELINE = Variant()
VARIANTS = (
    BASELINE,
    Variant("none", "1-1"),
    *(Variant(method, text) for text in PHASES for method in METHODS),
)


class Cells:
    """The results of a workdir, made one by one.

    Args:
        workdir: gets `setup/`, the cells' `*.json`, and the folder of the running cell.
        seconds: after which no new cell is begun.
        only: what the name of a cell has to contain for it to be done.
    """

    def __init__(self, workdir: Path, seconds: float, only: str = ""):
        self._workdir, self._end = workdir, time.monotonic() + seconds
        self._only = only
        self.setup = workdir / "setup"

    def get(self, *key: Any) -> Any | None:
        """Returns the result of a cell, None if it was not done."""
        path = self._path(key)
        return json.loads(path.read_text()) if path.exists() else None

    def make(self, key: Sequence[Any], work: Callable[[Path], Any]) -> None:
        """Does a cell that is not there, if there is time.

        Args:
            key: its name.
            work: folder -> result, JSON; goes on with what is in the folder.
        """
        path = self._path(key)
        if path.exists() or self._only not in path.stem:
            return
        if time.monotonic() > self._end:
            return
        folder = path.with_suffix("")
        result = work(folder)
        write_atomically(path, json.dumps(result))
        shutil.rmtree(folder, ignore_errors=True)

    def _path(self, key: Sequence[Any]) -> Path:
        name = "-".join(str(part).replace(" ", "_") for part in key)
        return self._workdir / f"{name}.json"
