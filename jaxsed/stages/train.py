"""Builds and runs one training from its config: what every trained stage shares.

A stage is a `Task`: which targets it reads, how it scores a batch, and what it does to
the parameters at the end. Everything else is the same for all of them.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.data import pipelines
from jaxsed.data.records import PreparedData
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from jaxsed.labels.events import offset_frames
from jaxsed.models import sed
from jaxsed.stages.program import Objective, build_program, init_params
from jaxsed.stages.scoring import Scorer, clip_length
from jaxsed.stages.workdir import claim
from jaxsed.training import loop, sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog, is_done
from jaxsed.weights import architecture, files, named

Params = Any


@dataclasses.dataclass(frozen=True)
class Task:
    """What makes a training one stage rather than another.

    Attributes:
        name: written into `model.json`.
        targets: `frames` or `clip`, what the loader delivers.
        objective: loss of a batch.
        to_detector: parameters after training -> parameters that detect events.
    """

    name: str
    targets: str
    objective: Objective
    to_detector: Callable[[Params], Params] = lambda params: params


def run(config: Mapping[str, Any], workdir: Path, task: Task) -> None:
    """Trains, evaluates and saves; goes on where an earlier call was stopped.

    Start order: this run's own newest checkpoint, else the model folder `config.init`,
    else random weights.

    Args:
        config: as `configs/common.py` describes it.
        workdir: folder of this run.
        task: the stage.
    """
    claim(workdir, config)
    if is_done(workdir / "metrics.jsonl"):
        logging.info("%s is finished already", workdir)
        return
    mesh = sharding.make_mesh(**config["mesh"])
    train_data = PreparedData(config["data"]["train"])
    eval_data = PreparedData(config["data"]["eval"])
    program = build_program(config, task.objective, len(train_data.vocabulary), mesh)
    model, shardings = program.model, program.shardings
    batches = training_data(config, train_data, model, task.targets)
    checkpoints = Checkpoints(workdir / "checkpoints")
    resume_step = checkpoints.latest_step
    if resume_step is not None:
        state = checkpoints.restore(program.abstract_state, shardings, batches)
    else:
        abstract = program.abstract_state.params
        params = start_params(model, abstract, config["seed"], config["init"])
        if config["prior_bias"]:
            params = with_prior(params, train_data)
        state = jax.jit(program.create, out_shardings=shardings)(params)
    scorer = Scorer(
        model,
        eval_data,
        train_data.vocabulary,
        mesh,
        shardings.params,
        directory=workdir / "scores",
        **config["eval"],
    )
    log = MetricsLog(
        workdir,
        resume_step=-1 if resume_step is None else resume_step,
        tensorboard=config["tensorboard"],
        active=jax.process_index() == 0,
    )
    state = loop.fit(
        state,
        program.train_step,
        batches,
        run_key=jax.random.key(config["seed"]),
        cadence=loop.Cadence(total=config["steps"], **config["every"]),
        mesh=mesh,
        checkpoints=checkpoints,
        log=log,
        evaluators={"eval": lambda params: scorer(task.to_detector(params))},
        title=workdir.name,
    )
    checkpoints.close()
    save(state.params, config, task, train_data, workdir)
    log.write(config["steps"], {"done": True})


def start_params(
    model: sed.SoundEventModel, abstract: Params, seed: int, init: str
) -> Params:
    """Returns random parameters, with the encoder of `init` if given.

    `init` is a model folder or the name of a released model.

    Heads and sequence model are always fresh: step 3 strips what earlier steps put on
    top of the encoder (Effective Pre-Training, section II-A).

    Raises:
        InputError: `init` holds another encoder than the config asks for.
    """
    fresh = [name for name in abstract if not init or name != "encoder"]
    # Compiling an initialiser costs more than running it: only what is kept is drawn.
    params = jax.jit(
        lambda key: {name: init_params(model, key)[name] for name in fresh}
    )(jax.random.key(seed))
    if not init:
        return params
    loaded, description = files.load_model(named.model_folder(init))
    expected = flax.traverse_util.flatten_dict(abstract["encoder"], sep="/")
    given = flax.traverse_util.flatten_dict(loaded["encoder"], sep="/")
    shapes = {name: array.shape for name, array in given.items()}
    if shapes != {name: array.shape for name, array in expected.items()}:
        raise InputError(
            f"init={init} holds the encoder {description['encoder']}, whose parameters "
            "do not fit this config's model.encoder: name the same encoder"
        )
    return {**params, "encoder": loaded["encoder"]}


def with_prior(params: Params, data: PreparedData) -> Params:
    """Returns parameters whose heads begin at the log-odds of each class.

    A head that starts at probability 0.5 spends its first hundreds of steps on
    learning that every class is rare; a long training does not notice, a short one is
    over by then (Lin et al. 2017, "Focal Loss", section 4.1, initialisation).
    """
    active = data.active_seconds()
    priors = {
        "strong_head": active.sum(0) / np.sum(data.durations),
        "weak_head": (active > 0).mean(0),
    }
    heads = {}
    for name, prior in priors.items():
        prior = np.clip(prior, 1e-4, 0.5)
        bias = np.log(prior / (1 - prior)).astype(np.float32)
        heads[name] = {**params[name], "bias": jnp.asarray(bias)}
    return {**params, **heads}


def training_data(
    config: Mapping[str, Any],
    data: PreparedData,
    model: sed.SoundEventModel,
    targets: str,
):
    """Returns the stage's endless batches for this process."""
    source = dict(config["data"])
    del source["train"], source["eval"]
    clip_seconds = clip_length(source.pop("clip_seconds"), model)
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
    data: PreparedData,
    workdir: Path,
) -> None:
    """Writes the self-describing model; on process 0 only."""
    params = _gather(task.to_detector(params))
    if jax.process_index() != 0:
        return
    files.save_model(
        workdir / "model",
        params,
        {
            **architecture.describe(**config["model"]),
            "vocabulary": data.vocabulary.to_json(),
            "stage": task.name,
            "licence": config["licence"],
            "provenance": {
                "init": config["init"],
                "seed": config["seed"],
                "steps": config["steps"],
                "batch_size": config["batch_size"],
                "train_manifest": data.manifest_hash,
                "teacher_logits": config["teacher"]["logits"],
            },
        },
    )


def _gather(params: Params) -> Params:
    """Brings parameters that are split over devices together, as numpy arrays."""
    if jax.process_count() == 1:
        return jax.device_get(params)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(params, tiled=True)
