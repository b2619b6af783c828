"""What `benchmarks.coarse_to_fine` trains, and the results that are there."""

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.coarse_to_fine import METRICS
from jaxsed import locks
from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError
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
        metric: what counts of an evaluation.
        head: see `models.heads`.
        max_lr: learning rate after the warm-up.
    """

    stage: str
    encoder: str
    steps: int
    metric: str
    head: str = "linear"
    max_lr: float = 1e-3


CASES = {
    "clip_tiny": Case("weak", "tiny_fpasst", 1000, METRICS["weak"]),
    "frame_tiny": Case("strong", "tiny_atst_frame", 1000, METRICS["strong"]),
    "clip_mid": Case("weak", "mid_atst_frame", 500, METRICS["weak"], max_lr=5e-4),
    "frame_mid": Case("strong", "mid_atst_frame", 500, METRICS["strong"], max_lr=5e-4),
}
# Whose weights are carried from C=4 to 2 to 1 after so many steps, on single sounds.
TRANSFERS = {
    "carried_ast": Case("weak", "tiny_ast_s16", 2500, "accuracy", head="tokens"),
}


def scaled(case: Case, scale: float) -> Case:
    """Returns the case with other numbers of steps."""
    return dataclasses.replace(case, steps=round(scale * case.steps))


@dataclasses.dataclass(frozen=True)
class Variant:
    """A way to train: phases of falling compression; the baseline is one phase.

    Attributes:
        method: of compression.
        phases: their factors.
        coarse: part of the steps before the last phase; 0 for the paper's rule.
    """

    method: str = "none"
    phases: str = "1"
    coarse: float = 0.0

    @property
    def title(self) -> str:
        """What the table calls it."""
        if self.phases == "1":
            return "baseline"
        method = "restart" if self.method == "none" else self.method
        part = f" ({self.coarse:.0%} coarse)" if self.coarse else ""
        return f"{method} {self.phases}{part}"

    def lengths(self, steps: int) -> tuple[int, ...]:
        """Returns the steps of each phase of a training of `steps`."""
        n_phases = len(self.compressions)
        if not self.coarse:
            return tuple(phases.lengths(steps, n_phases))
        each = round(self.coarse * steps / (n_phases - 1))
        return (*[each] * (n_phases - 1), steps - each * (n_phases - 1))

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
    # Not in the paper: what half of all steps would save.
    *(Variant(method, "4-1", 0.5) for method in ("fshift", "patch_pi")),
)


class Cells:
    """The results of a workdir, made one by one; several processes may share them.

    Args:
        workdir: gets `setup/`, the cells' `*.json`, and the folder of the running cell.
        seconds: after which no new cell is begun.
        only: what the name of a cell has to contain for it to be done.
        published: results that are known from elsewhere, by the cell's name.
    """

    def __init__(
        self,
        workdir: Path,
        seconds: float,
        only: str = "",
        published: Mapping[str, Any] | None = None,
    ):
        self._workdir, self._end = workdir, time.monotonic() + seconds
        self._only, self._published = only, published or {}
        self.setup = workdir / "setup"

    def get(self, *key: Any) -> Any | None:
        """Returns the result of a cell, None if it was not done."""
        path = self._path(key)
        if path.exists():
            return json.loads(path.read_text())
        return self._published.get(path.stem)

    def results(self) -> dict[str, Any]:
        """Returns all results that are there, by the cell's name; of two the own one."""
        own = {
            p.stem: json.loads(p.read_text()) for p in self._workdir.glob("*-*.json")
        }
        return dict(sorted((self._published | own).items()))

    def make(self, key: Sequence[Any], work: Callable[[Path], Any]) -> None:
        """Does a cell that is not there and that no other process does, if there is time.

        Args:
            key: its name.
            work: folder -> result, JSON; goes on with what is in the folder.
        """
        path = self._path(key)
        if self.get(*key) is not None or self._only not in path.stem:
            return
        if time.monotonic() > self._end:
            return
        folder = path.with_suffix("")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            locks.hold(folder)
        except locks.InUse:
            return
        if path.exists():  # another process has just done it
            return
        result = work(folder)
        write_atomically(path, json.dumps(result).encode())
        shutil.rmtree(folder, ignore_errors=True)

    def _path(self, key: Sequence[Any]) -> Path:
        name = "-".join(re.sub(r"[^\w.-]+", "_", str(part)) for part in key)
        return self._workdir / f"{name}.json"


def read_results(path: Path, scale: float) -> dict[str, Any]:
    """Returns the results that were published beside a page, by the cell's name.

    Raises:
        InputError: They are of another scale.
    """
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["scale"] != scale:
        raise InputError(
            f"{path} holds results of --scale {found['scale']:g}, this is "
            f"{scale:g}. Give another page with --page."
        )
    return found["cells"]


def write_results(path: Path, scale: float, cells: Mapping[str, Any]) -> None:
    """Writes results so that they can be read again, a line a cell."""
    lines = ",\n".join(
        f"{json.dumps(name)}: {json.dumps(cells[name])}" for name in cells
    )
    text = f'{{"scale": {json.dumps(scale)}, "cells": {{\n{lines}\n}}}}\n'
    write_atomically(path, text.encode())
