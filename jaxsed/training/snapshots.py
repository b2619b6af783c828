"""The mean of the parameters at several evaluations of a run, which is often better.

AST averages all of its last epochs (`src/traintest.py`, `validate_wa`), HTS-AT the
checkpoints that scored best (`main.py`, `weight_average`). Snapshots lie on disk: each
holds the parameters alone, as large as the model.
"""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jaxsed import metric_order
from jaxsed.errors import InputError, check_known
from jaxsed.training import processes
from jaxsed.training.logs import MetricsLog
from jaxsed.training.state import Params, TrainState


class Snapshots:
    """The `snapshots/` folder of a run.

    Which are kept is a function of the evaluations that the log holds, so a run that
    goes on ends with the same ones, wherever it was killed. The evaluation before the
    first step does not count.

    Args:
        directory: made when the first one is taken.
        last: how many to keep of the newest evaluations; 0 for none.
        best: how many to keep of the evaluations that found the best values.
        metric: of `best`, as it is logged; `jaxsed.metric_order` knows whether more or
            less of it is better. Of equal values the earlier one is better.

    Raises:
        InputError: a number is negative, or both are given.
    """

    def __init__(
        self, directory: Path, last: int = 0, best: int = 0, metric: str = "eval/map"
    ):
        if min(last, best) < 0 or (last and best):
            raise InputError(
                f"average.last={last}, average.best={best}: expected one of them, or 0 "
                "twice for no averaging"
            )
        self._directory = directory.resolve()
        self._last, self._best, self._metric = last, best, metric

    @property
    def active(self) -> bool:
        """Whether any are to be taken."""
        return bool(self._last or self._best)

    def check(self, logged: Iterable[str]) -> None:
        """Refuses a metric that no evaluation of the run will find.

        Args:
            logged: names of the metrics that will be logged.

        Raises:
            InputError: names the nearest of them.
        """
        if self._best:
            check_known("average.metric", self._metric, logged)

    def take(self, state: TrainState, log: MetricsLog) -> None:
        """Keeps the parameters if they are among those wanted, drops what no longer is.

        Args:
            state: that was evaluated; one that is kept already is left alone.
            log: the run's, with that evaluation in it.

        Raises:
            InputError: the disk cannot be written.
        """
        step = int(state.step)
        if not self.active or not step:
            return
        kept = self._kept()
        wanted = processes.on_first(lambda: self._wanted(step, kept, log))
        if step in wanted and step not in kept:
            self._save(step, state.params)
        processes.on_first(lambda: self._drop(set(kept) - set(wanted)))

    def mean(self, abstract: Params, shardings: Params) -> Params:
        """Returns the arithmetic mean of the parameters kept, laid out on the devices.

        Args:
            abstract: shapes and types of the parameters.
            shardings: tree like it.

        Raises:
            InputError: none is there, or one cannot be read.
        """
        steps = self._kept()
        if not steps:
            raise InputError(
                f"{self._directory} has no snapshot to average: the run ended before its "
                "first evaluation; set average.last and average.best to 0"
            )
        target = jax.tree.map(
            lambda leaf, sharding: jax.ShapeDtypeStruct(
                leaf.shape, leaf.dtype, sharding=sharding
            ),
            abstract,
            shardings,
        )
        total = self._restored(steps[0], target)
        add = jax.jit(
            lambda one, other: jax.tree.map(jax.numpy.add, one, other),
            out_shardings=shardings,
            donate_argnums=0,
        )
        for step in steps[1:]:
            total = add(total, self._restored(step, target))
        return jax.tree.map(lambda leaf: leaf / len(steps), total)

    def remove(self) -> None:
        """Removes all; for when their mean is saved."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _kept(self) -> list[int]:
        # Orbax renames a folder to its number when it is complete.
        return processes.on_first(
            lambda: sorted(
                int(path.name)
                for path in self._directory.glob("*")
                if path.name.isdigit()
            )
        )

    def _wanted(self, step: int, kept: Sequence[int], log: MetricsLog) -> list[int]:
        if self._last:
            steps = sorted({step, *(s for s in kept if s <= step)})
            return steps[-self._last :]
        values = {s: value for s, value in log.history(self._metric) if 0 < s <= step}
        ranked = sorted(values, key=lambda s: (-self._goodness(values[s]), s))
        return ranked[: self._best]

    def _goodness(self, value: float | None) -> float:
        sign = metric_order.sign(self._metric)
        return float("-inf") if value is None else sign * value

    def _save(self, step: int, params: Params) -> None:
        try:
            with ocp.StandardCheckpointer() as writer:
                writer.save(self._directory / str(step), params, force=True)
        except Exception as error:  # orbax hands on whatever lies below it raises
            raise InputError(
                f"the snapshot of step {step} could not be written to "
                f"{self._directory} ({processes.one_line(error)}): check its disk and "
                "quota; the same command goes on"
            ) from error

    def _restored(self, step: int, target: Any) -> Params:
        try:
            with ocp.StandardCheckpointer() as reader:
                return reader.restore(self._directory / str(step), target)
        except Exception as error:
            raise InputError(
                f"the snapshot {self._directory / str(step)} cannot be read "
                f"({processes.one_line(error)}): remove it to average the others"
            ) from error

    def _drop(self, steps: Iterable[int]) -> None:
        for step in steps:
            shutil.rmtree(self._directory / str(step), ignore_errors=True)
