"""The training loop: every stage's. It knows steps, not tasks."""

import dataclasses
import time
from collections.abc import Callable, Mapping

import grain
import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxsed.errors import InputError
from jaxsed.training import sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog
from jaxsed.training.state import Params, TrainState

Evaluator = Callable[[Params], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How long a run is and what happens how often, in optimiser steps.

    Attributes:
        total: steps of the whole run.
        log: mean of the measurements is logged every so many steps.
        evaluate: evaluators run every so many steps, before the first and after the
            last one.
        save: a checkpoint every so many steps, and after the last one.
    """

    total: int
    log: int
    evaluate: int
    save: int


def fit(
    state: TrainState,
    train_step: Callable,
    batches: grain.DatasetIterator,
    *,
    run_key: jax.Array,
    cadence: Cadence,
    mesh: Mesh,
    checkpoints: Checkpoints,
    log: MetricsLog,
    evaluators: Mapping[str, Evaluator],
    title: str = "train",
) -> TrainState:
    """Trains from `state.step` to `cadence.total` and returns the final state.

    At a step with several duties the order is: log, evaluate, save. A checkpoint of
    step k therefore vouches for every logged line up to k, and, since saving logs
    first, for a finite loss in every step up to k.

    Args:
        state: where to begin; 0 or a restored step.
        train_step: from `training.step.make_train_step`.
        batches: iterator that stands at `state.step`.
        run_key: key of the run, from its seed.
        cadence: lengths, in steps.
        mesh: devices.
        checkpoints: the run's checkpoints.
        log: the run's metrics.
        evaluators: name -> function of the parameters.
        title: what the progress bar calls this run.

    Raises:
        InputError: the loss is no longer finite; names the steps.
    """
    step = int(state.step)
    if step == 0:
        log.write(0, _evaluate(evaluators, state.params))
    window = _Window(step)
    progress = tqdm(
        total=cadence.total,
        initial=step,
        desc=title,
        unit="step",
        dynamic_ncols=True,
        disable=jax.process_index() != 0,
    )
    with progress:
        while step < cadence.total:
            batch = next(batches)
            state, measurements = train_step(
                state, sharding.put_batch(batch, mesh), run_key
            )
            step += 1
            progress.update()
            window.add(measurements, clips=len(batch["index"]))
            last = step == cadence.total
            if last or step % cadence.log == 0 or step % cadence.save == 0:
                values = window.close(step)
                log.write(step, values)
                progress.set_postfix(loss=f"{values['train/loss']:.4f}", refresh=False)
            if last or step % cadence.evaluate == 0:
                values = _evaluate(evaluators, state.params)
                log.write(step, values)
                _show(progress, step, values)
                window.restart_clock()
            if last or step % cadence.save == 0:
                checkpoints.save(state, batches)
    return state


class _Window:
    """Measurements since the last log line, kept on the devices until it is written."""

    def __init__(self, step: int):
        self._first = step + 1
        self._measurements: list[Mapping[str, jax.Array]] = []
        self._clips = 0
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leaves evaluation out of the throughput."""
        self._clips = 0
        self._since = time.perf_counter()

    def add(self, measurements: Mapping[str, jax.Array], clips: int) -> None:
        self._measurements.append(measurements)
        self._clips += clips

    def close(self, step: int) -> dict[str, float]:
        fetched = jax.device_get(self._measurements)
        names = fetched[0].keys()
        means = {name: float(np.mean([m[name] for m in fetched])) for name in names}
        if not np.isfinite(means["loss"]):
            bad = next(i for i, m in enumerate(fetched) if not np.isfinite(m["loss"]))
            raise InputError(
                f"the loss of step {self._first + bad} is {fetched[bad]['loss']}: lower "
                "optim.max_lr or set optim.clip_norm; the checkpoint before it is kept"
            )
        seconds = max(time.perf_counter() - self._since, 1e-9)
        clips_per_second = self._clips * jax.process_count() / seconds
        self._measurements, self._first = [], step + 1
        self.restart_clock()
        values = {f"train/{name}": value for name, value in means.items()}
        return {**values, "train/clips_per_second": clips_per_second}


def _evaluate(evaluators: Mapping[str, Evaluator], params: Params) -> dict[str, float]:
    return {
        f"{name}/{metric}": float(value)
        for name, evaluator in evaluators.items()
        for metric, value in evaluator(params).items()
    }


def _show(progress: tqdm, step: int, values: Mapping[str, float]) -> None:
    if values and not progress.disable:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        progress.write(f"{progress.desc} step {step}: {shown}")
