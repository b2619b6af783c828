"""The training loop: every stage's. It knows steps, not tasks."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import grain
import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

from jaxsed import losses
from jaxsed.errors import InputError
from jaxsed.training import divergence, preemption, processes, sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog
from jaxsed.training.plateau import STEADY, Plateau
from jaxsed.training.snapshots import Snapshots
from jaxsed.training.state import Params, TrainState
from jaxsed.training.step_timer import StepTimer
from jaxsed.training.until import NEVER, Until

Evaluator = Callable[[Params], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Cadence:
    """How long a run is and what happens how often, in optimiser steps.

    Attributes:
        total: steps of the whole run.
        log: mean of the measurements is logged every so many steps.
        evaluate: evaluators run every so many steps, before the first and after the
            last one.
        save: a checkpoint every so many steps, before evaluations and after the last
            step.

    Raises:
        InputError: one of the three intervals is below 1.
    """

    total: int
    log: int
    evaluate: int
    save: int

    def __post_init__(self):
        for name in ("log", "evaluate", "save"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"every.{name}={getattr(self, name)}: expected at least 1 step; for "
                    "seldom, give more than the run has"
                )

    def evaluates(self, step: int) -> bool:
        """Whether evaluators run after so many steps."""
        return step in (0, self.total) or step % self.evaluate == 0

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due; one is before an evaluation, which takes long."""
        return step > 0 and (step % self.save == 0 or self.evaluates(step))

    def logs(self, step: int) -> bool:
        """Whether measurements are due: also before a checkpoint, which vouches."""
        return step % self.log == 0 or self.saves(step)


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
    notice: preemption.Notice,
    clip_ids: Sequence[str],
    title: str = "train",
    loader_report: Callable[[float], str] | None = None,
    until: Until = NEVER,
    plateau: Plateau = STEADY,
    snapshots: Snapshots | None = None,
) -> tuple[TrainState, bool]:
    """Trains from `state.step` to `cadence.total`, or until an evaluation is passed.

    At a step with several duties the order is: log, save, evaluate. A checkpoint of
    step k therefore vouches for every logged line up to k but the evaluation, and,
    since saving logs first, for a finite loss and gradient in every step up to k. An
    evaluation that a stopped run still owes comes first when it goes on.

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
        notice: of preemption, open.
        clip_ids: names of the rows that `batch["index"]` holds.
        title: what the progress bar calls this run.
        loader_report: clips a second that the devices take of this process -> a line
            for the user, shown once.
        until: what ends the run earlier.
        plateau: what lowers the learning rate.
        snapshots: what keeps parameters that were evaluated.

    Returns:
        The state after the last step taken, and whether an evaluation ended the run:
        then it is the state that was evaluated.

    Raises:
        Diverged: loss or gradient are no longer finite; names step and clips.
        Preempted: `notice` came, and all is saved.
    """
    step = int(state.step)
    train_step = StepTimer(train_step)
    progress = tqdm(
        total=cadence.total,
        initial=step,
        desc=title,
        unit="step",
        dynamic_ncols=True,
        disable=not processes.is_first(),
    )
    with progress, _stopping_well(checkpoints, log, clip_ids):
        evaluate = functools.partial(_evaluate, evaluators, notice, log, progress)
        passed = False
        if cadence.evaluates(step):
            found = _logged(log, step, evaluators) or evaluate(step, state.params)
            passed = until.passed_by(found)
            state = plateau.adjusted(state, log)
            if snapshots:
                snapshots.take(state, log)
        window = _Window(step)
        while step < cadence.total and not passed:
            batch = next(batches)
            state, measurements = train_step(
                state, sharding.put_batch(batch, mesh), run_key
            )
            step += 1
            progress.update()
            window.add(measurements, batch["index"])
            stop = notice.must_stop()
            if stop or cadence.logs(step):
                values = window.close(step)
                log.write(step, values)
                progress.set_postfix(loss=f"{values['train/loss']:.4f}", refresh=False)
                if loader_report and train_step.seconds:
                    rate = len(batch["index"]) / train_step.seconds
                    _write(progress, loader_report(rate))
                    loader_report = None
            if stop or cadence.saves(step):
                checkpoints.save(state, batches)
            if stop:
                raise preemption.Preempted(step, cadence.total)
            if cadence.evaluates(step):
                passed = until.passed_by(evaluate(step, state.params))
                state = plateau.adjusted(state, log)
                if snapshots:
                    snapshots.take(state, log)
                window.restart_clock()
        if passed and step < cadence.total:
            _write(progress, f"step {step}: {until}")
    return state, passed


class _Window:
    """Measurements since the last log line, kept on the devices until it is written."""

    def __init__(self, step: int):
        self._first = step + 1
        self._measurements: list[Mapping[str, jax.Array]] = []
        self._rows: list[np.ndarray] = []
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leaves evaluation out of the throughput."""
        self._clips = 0
        self._since = time.perf_counter()

    def add(self, measurements: Mapping[str, jax.Array], rows: np.ndarray) -> None:
        self._measurements.append(measurements)
        self._rows.append(rows)
        self._clips += len(rows)

    def close(self, step: int) -> dict[str, float]:
        fetched = jax.device_get(self._measurements)
        for i, measurements in enumerate(fetched):
            divergence.check(self._first + i, measurements, self._rows[i])
        seconds = max(time.perf_counter() - self._since, 1e-9)
        clips_per_second = self._clips * jax.process_count() / seconds
        means = losses.mean_over_steps(fetched)
        values = {f"train/{name}": value for name, value in means.items()}
        self._measurements, self._rows, self._first = [], [], step + 1
        self.restart_clock()
        return {**values, "train/clips_per_second": clips_per_second}


@contextlib.contextmanager
def _stopping_well(
    checkpoints: Checkpoints, log: MetricsLog, clip_ids: Sequence[str]
) -> Iterator[None]:
    """Has what was saved on disk before a run stops; says why, of one that diverged."""
    try:
        yield
    except preemption.Preempted:
        checkpoints.wait()
        raise
    except divergence.NotFinite as error:
        checkpoints.wait()
        saved = checkpoints.latest_step
        raise divergence.explained(error, log, clip_ids, saved) from error


def _logged(
    log: MetricsLog, step: int, evaluators: Mapping[str, Evaluator]
) -> dict[str, float | None]:
    """Returns what the evaluation of a step found, if it was logged already."""
    prefixes = tuple(f"{name}/" for name in evaluators)
    return processes.on_first(lambda: log.find(step, prefixes))


def _evaluate(
    evaluators: Mapping[str, Evaluator],
    notice: preemption.Notice,
    log: MetricsLog,
    progress: tqdm,
    step: int,
    params: Params,
) -> dict[str, float]:
    """Runs the evaluators, logs what they find, shows it and returns it.

    Raises:
        Preempted: `notice` came; what was found is lost, and owed by the next run.
    """
    try:
        with notice.interrupting():
            found = {
                f"{name}/{metric}": float(value)
                for name, evaluator in evaluators.items()
                for metric, value in evaluator(params).items()
            }
    except preemption.Interrupted as error:
        raise preemption.Preempted(step, progress.total) from error
    values = processes.from_first(found)
    log.write(step, values)
    if values:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        _write(progress, f"step {step}: {shown}")
    return values


def _write(progress: tqdm, line: str) -> None:
    if not progress.disable:
        progress.write(f"{progress.desc} {line}")
