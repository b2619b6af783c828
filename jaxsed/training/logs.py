"""Metrics of a run: `metrics.jsonl`, one JSON object a line, and TensorBoard if asked.

A line is `{"step": int, "train/loss": float, ...}`; the last line of a finished run
holds `"done": true`. A resumed run first drops the lines of steps it will do again, so
that the file reads as if the run had never been stopped; but for a run told to stop
(SIGTERM), which adds a line for the steps since the last one, so that the next has fewer.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxsed.atomic import replacing
from jaxsed.errors import InputError

# Names of what an evaluation finds begin so: while the model is trained, of the mean of
# several models, and of a finished model on other data.
EVALUATIONS = ("eval/", "average/", "test/")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of a metrics file, up to one that a crash cut off or garbled."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, dict) or "step" not in line:
            break
        lines.append(line)
    return lines


def evaluations(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns what each evaluation found, in order, by metric; None: not defined.

    The last one is of the model that a finished run left.

    Args:
        lines: from `read_metrics`.
    """
    found = [
        {
            name.partition("/")[2]: value
            for name, value in line.items()
            if name.startswith(EVALUATIONS)
        }
        for line in lines
    ]
    return [values for values in found if values]


def is_done(path: Path) -> bool:
    """Whether the run that wrote this metrics file came to its end."""
    lines = read_metrics(path)
    return bool(lines) and lines[-1].get("done", False)


class MetricsLog:
    """Appends to `metrics.jsonl`; on other processes than 0 it does nothing.

    Args:
        workdir: folder of the run.
        resume_step: what was logged of later steps is dropped; -1 drops all.
        tensorboard: also write TensorBoard event files (extra `logging`).
        active: False on processes other than 0.
    """

    def __init__(
        self,
        workdir: Path,
        resume_step: int = -1,
        tensorboard: bool = False,
        active: bool = True,
    ):
        self._active = active
        self._workdir = workdir
        self._path = workdir / "metrics.jsonl"
        self._board = None
        if not active:
            return
        kept = [m for m in read_metrics(self._path) if m["step"] <= resume_step]
        with _writing(self._path):
            _replace(self._path, "".join(_line(m) for m in kept))
        if tensorboard:
            self._board = _tensorboard_writer(workdir, resume_step + 1)

    def write(self, step: int, values: Mapping[str, float | bool]) -> None:
        """Appends one line and flushes it to the operating system.

        Raises:
            InputError: the file cannot be written.
        """
        if not self._active:
            return
        plain = {name: _plain(value) for name, value in values.items()}
        with _writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line({"step": int(step), **plain}))
        if self._board is not None:
            for name, value in plain.items():
                if value is not None:
                    self._board.add_scalar(name, value, int(step))
            self._board.flush()
            if plain.get("done"):  # its thread writes behind, and dies with the process
                self._board.close()
                self._board = None

    def find(self, step: int, prefixes: tuple[str, ...]) -> dict[str, float | None]:
        """Returns what the lines of this step hold under names that begin so."""
        return {
            name: value
            for line in read_metrics(self._path)
            if line["step"] == step
            for name, value in line.items()
            if name.startswith(prefixes)
        }

    def history(self, name: str) -> list[tuple[int, float | None]]:
        """Returns step and value of every line that holds this name, in order."""
        lines = read_metrics(self._path)
        return [(line["step"], line[name]) for line in lines if name in line]

    def write_report(self, name: str, content: Mapping[str, Any]) -> Path:
        """Writes `NAME.json` beside the metrics; returns its path.

        Raises:
            InputError: the file cannot be written.
        """
        path = self._workdir / f"{name}.json"
        if self._active:
            with _writing(path):
                _replace(path, json.dumps(content, indent=2) + "\n")
        return path


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): check its disk and quota; the "
            "same command goes on from the newest checkpoint"
        ) from error


def _replace(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def _plain(value: float | bool) -> float | bool | None:
    """JSON has no NaN: a metric that is not defined becomes null."""
    if isinstance(value, bool):
        return value
    return float(value) if math.isfinite(value) else None


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values)) + "\n"


def _tensorboard_writer(workdir: Path, first_step: int):
    """Returns a writer; TensorBoard no longer shows what was logged from a step on."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise InputError(
            "tensorboard=True needs tensorboardX: pip install 'jaxsed[logging]'"
        ) from error
    return SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step)
