"""Builds and runs one training from its config: what every trained stage shares.

A stage is a `Task`: which targets it reads, how it scores a batch, and what it does to
the parameters at the end. Everything else is the same for all of them.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxsed.data import pipelines
from jaxsed.data.joined import JoinedData, open_data
from jaxsed.data.records import PreparedData
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.labels.events import offset_frames
from jaxsed.models import sed
from jaxsed.models.heads_alone import HeadsAlone
from jaxsed.stages.given import Given, gather
from jaxsed.stages.program import Draw, Objective, Program, build_program
from jaxsed.stages.scoring import Scorer, clip_length, require_frame_labels
from jaxsed.stages.workdir import claim
from jaxsed.training import loop, preemption, processes, sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog, is_done
from jaxsed.training.plateau import Plateau
from jaxsed.training.snapshots import Snapshots
from jaxsed.training.state import TrainState
from jaxsed.training.until import PASSED, Until
from jaxsed.weights import architecture, files, fresh, named

Params = Any


@dataclasses.dataclass(frozen=True)
class Task:
    """What makes a training one stage rather than another.

    Attributes:
        name: written into `model.json`.
        targets: `frames` or `clip`, what the loader delivers; None for no labels.
        objective: loss of a batch.
        to_detector: parameters after training -> parameters that detect events.
        inputs: entries of a prepared batch that the model is called with.
        draw: what a step draws at random besides augmentation, see `program`.
        scorer: makes an evaluator, with the arguments of `Scorer`.
        untrained: heads that the loss does not reach. They stay as they were drawn, unless
            `init` brings them along, and the model says so of itself.
    """

    name: str
    targets: str | None
    objective: Objective
    to_detector: Callable[[Params], Params] = lambda params: params
    inputs: tuple[str, ...] = ("mel",)
    draw: Draw | None = None
    scorer: Callable[..., loop.Evaluator] = Scorer
    untrained: tuple[str, ...] = ()


def run(config: Mapping[str, Any], workdir: Path, task: Task) -> None:
    """Trains, evaluates and saves; goes on where an earlier call was stopped.

    Ends after `config.steps`, or at the first evaluation that passes `config.until`:
    then the model saved is the one that passed, and the last line of `metrics.jsonl`
    says so. Without that, and with `config.average`, it is the mean of several evaluated
    ones, which is evaluated once more, as `average/METRIC`.

    Start order: this run's own newest checkpoint, else the model folder `config.init`,
    else random weights.

    Args:
        config: as `configs/common.py` describes it.
        workdir: folder of this run.
        task: the stage.
    """
    claim(workdir, config)
    snapshots = Snapshots(workdir / "snapshots", **config["average"])
    if processes.on_first(lambda: is_done(workdir / "metrics.jsonl")):
        logging.info("%s is finished already", workdir)
        processes.on_first(snapshots.remove)  # where the run was killed before it could
        return
    cadence = loop.Cadence(total=config["steps"], **config["every"])
    until = Until(**config["until"])
    for watching in (until, Plateau(**config["plateau"]), snapshots):
        watching.check(f"eval/{metric}" for metric in config["eval"]["metrics"])
    mesh = sharding.make_mesh(**config["mesh"])
    data = open_data(config["data"]["train"], task.targets is not None)
    if task.targets == "frames":
        require_frame_labels(data, "training on frames")
    program = build_program(
        config, task.objective, len(data.vocabulary), mesh, task.inputs, task.draw
    )
    with preemption.Notice() as notice:
        try:
            with notice.interrupting():
                given = gather(config, workdir, task.scorer, data, program, mesh)
        except preemption.Interrupted as error:
            raise preemption.Stopped from error  # of frames, what is finished is kept
        state, passed, log = fit(
            config,
            workdir,
            task,
            given,
            program,
            mesh,
            notice,
            cadence,
            until,
            snapshots,
        )
    step = int(state.step)
    params = given.whole(gathered(task.to_detector(state.params)))
    averaged = snapshots.active and not passed
    processes.on_first(
        lambda: save(params, config, task, data, workdir, step, averaged)
    )
    log.write(step, {"done": True} | ({PASSED: passed} if until.metric else {}))
    processes.on_first(snapshots.remove)


def fit(
    config: Mapping[str, Any],
    workdir: Path,
    task: Task,
    given: Given,
    program: Program,
    mesh: Mesh,
    notice: preemption.Notice,
    cadence: loop.Cadence,
    until: Until,
    snapshots: Snapshots,
) -> tuple[TrainState, bool, MetricsLog]:
    """Trains from wherever the run stands.

    Returns:
        Its last state, with the mean of the snapshots for parameters if there are any
        and no evaluation ended it; whether one did; and its log.
    """
    batches = training_data(config, given.data, program.model, task.targets)
    checkpoints = Checkpoints(workdir / "checkpoints")
    resume_step = checkpoints.latest_step
    if resume_step is None:
        state = given.start()
    else:
        state = checkpoints.restore(program.abstract_state, program.shardings, batches)
    log = MetricsLog(
        workdir,
        resume_step=-1 if resume_step is None else resume_step,
        tensorboard=config["tensorboard"],
        active=processes.is_first(),
    )
    state, passed = loop.fit(
        state,
        program.train_step,
        batches,
        run_key=jax.random.key(config["seed"]),
        cadence=cadence,
        mesh=mesh,
        checkpoints=checkpoints,
        log=log,
        evaluators={"eval": lambda params: given.scorer(task.to_detector(params))},
        notice=notice,
        clip_ids=given.data.ids,
        title=workdir.name,
        loader_report=batches.speed.report,
        until=until,
        plateau=Plateau(**config["plateau"]),
        snapshots=snapshots,
    )
    checkpoints.close()
    if snapshots.active and not passed:
        shapes, shardings = program.abstract_state.params, program.shardings.params
        state = state.replace(params=snapshots.mean(shapes, shardings))
        params = task.to_detector(state.params)
        evaluate_mean(given.scorer, params, int(state.step), log, notice)
    return state, passed, log


def evaluate_mean(
    scorer: loop.Evaluator,
    params: Params,
    step: int,
    log: MetricsLog,
    notice: preemption.Notice,
) -> None:
    """Logs what a run's averaged parameters reach; once, however often it is stopped.

    Args:
        scorer: evaluates parameters.
        params: the mean, as the scorer takes them.
        step: the run's last one.
        log: the run's.
        notice: of preemption, open.

    Raises:
        Preempted: `notice` came; the evaluation is owed by the next run.
    """
    if processes.on_first(lambda: log.find(step, ("average/",))):
        return
    try:
        with notice.interrupting():
            found = scorer(params)
    except preemption.Interrupted as error:
        raise preemption.Preempted(step, step) from error
    log.write(step, {f"average/{name}": float(v) for name, v in found.items()})


def training_data(
    config: Mapping[str, Any],
    data: PreparedData | JoinedData,
    model: sed.SoundEventModel,
    targets: str | None,
):
    """Returns the stage's endless batches for this process."""
    source = dict(config["data"])
    del source["train"], source["eval"]
    clip_seconds = clip_length(source.pop("clip_seconds"), model)
    if isinstance(model, HeadsAlone):
        # Threads read stored frames as fast as the disk gives them.
        source["workers"] = 0
    logits = config["teacher"]["logits"]
    return pipelines.training_batches(
        data,
        seed=config["seed"],
        batch_size=config["batch_size"],
        clip_seconds=clip_seconds,
        sample_rate=model.frontend.sample_rate,
        n_frames=int(offset_frames(clip_seconds)),
        targets=targets,
        teacher=TeacherLogits(Path(logits)) if logits else None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        **source,
    )


def save(
    params: Params,
    config: Mapping[str, Any],
    task: Task,
    data: PreparedData | JoinedData,
    workdir: Path,
    step: int,
    averaged: bool,
) -> None:
    """Writes the self-describing model, as it is after `step` optimiser steps."""
    files.save_model(
        workdir / "model",
        params,
        {
            **architecture.describe(**config["model"]),
            "vocabulary": data.vocabulary.to_json(),
            "stage": task.name,
            "licence": _licence(config),
            "postprocess": _postprocessing(config).to_json(),
            "provenance": {
                "init": config["init"],
                "mode": config["mode"],
                "seed": config["seed"],
                "steps": step,
                "batch_size": config["batch_size"],
                "average": dict(config["average"]) if averaged else None,
                "train_manifest": data.manifest_hash,
                "teacher_logits": config["teacher"]["logits"],
                "fresh": _drawn(params, config, task),
            },
        },
    )


def _licence(config: Mapping[str, Any]) -> str:
    """Returns the config's licence and, as they go on to hold, those of `init`."""
    licences = [config["licence"]]
    if config["init"]:
        before = files.read_description(named.model_folder(config["init"]))
        licences += before["licence"].split("; ")
    return "; ".join(dict.fromkeys(filter(None, licences))) or "none stated"


def _drawn(params: Params, config: Mapping[str, Any], task: Task) -> dict[str, str]:
    """Returns how parameters were made that no training has reached, by path."""
    heads = task.untrained
    if config["init"] and config["carry"] == "all":
        folder = named.model_folder(config["init"])
        before = files.read_description(folder)["provenance"].get("fresh", {})
        heads = tuple(head for head in heads if head in fresh.drawn_heads(before))
    how = f"{fresh.HOW} with seed {config['seed']}"
    return {f"{head}/{name}": how for head in heads for name in params[head]}


def _postprocessing(config: Mapping[str, Any]) -> Postprocessing:
    """Returns that of the evaluations, which `jaxsed detect` goes on with."""
    keys = ("postprocess", "median_seconds", "min_seconds")
    return choose(*map(config["eval"].get, keys))


def gathered(params: Params) -> Params:
    """Brings parameters that are split over devices together, as numpy arrays."""
    if jax.process_count() == 1:
        return jax.device_get(params)
    return multihost_utils.process_allgather(params, tiled=True)
