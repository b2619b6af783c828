"""Pieces that several configs share: the defaults of a training and argument parsing.

The defaults are the papers' where a paper names a value. Every config returns a locked
`ConfigDict`; an unknown key is an error that names the nearest known one.
"""

import math
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError, check_known
from jaxsed.stages import phases

# The paper's five transformers: name of the encoder -> released checkpoints after
# step 1 and step 2 (PretrainedSED README, "Model Checkpoints").
STARTS = {
    "atst_frame": ("ATST-F_ssl", "ATST-F_weak"),
    "beats": ("BEATs_ssl", "BEATs_weak"),
    "fpasst": ("fpasst_ssl", "fpasst_weak"),
    "m2d": ("M2D_ssl", "M2D_weak"),
    "asit": ("ASIT_ssl", "ASIT_weak"),
}
# Section III-A: every learning rate the paper tried, for teachers and students alike.
LEARNING_RATES = (7e-5, 1e-4, 3e-4, 6e-4, 1e-3, 3e-3)
# Section III: what of AudioSet Strong the authors had.
TRAIN_CLIPS = 100_911
BATCH_SIZE = 256
WORKERS = 8  # loader processes a host


def training(stage: str) -> ConfigDict:
    """Returns a training config with every key there is.

    Effective Pre-Training, section III-A: Adam, cosine schedule with 5,000 warm-up
    steps, batch size 256, median filter 0.48 s.
    """
    return ConfigDict(
        {
            "stage": stage,
            "seed": 0,
            "mode": "finetune",  # frozen: all but the encoder, on its stored frames
            "frames": "",  # frozen: where those are stored; empty: in the workdir
            "model": {
                "encoder": "atst_frame",
                "sequence": "none",  # or bigru | bilstm | attention | transformer | mamba
                "sequence_width": 2048,
                "sequence_layers": 2,
                "head": "linear",  # clip logits: linear attention tokens cls token_semantic
                "dtype": "float32",  # bfloat16: matmuls only
                "compression": "none",  # fewer time steps: fshift-4, patch_pi-2
                "frontend": "",  # with another data set's statistics: ast_esc50
                "drop_layers": 0,  # blocks at the encoder's top that are left out
            },
            "init": "",  # model to start from: a folder, or a name (BEATs_weak)
            "carry": "encoder",  # what of it: encoder (under fresh heads) | all
            "prior_bias": False,  # heads start at the classes' log-odds
            "data": {
                "train": "",  # written by `jaxsed prepare`; several: `common.several`
                "eval": "",
                "shares": (),  # of those folders in a batch; empty: as many as they have
                "clip_seconds": 0.0,  # of training examples; 0: what the encoder takes
                "sampling": "uniform",  # | balanced | balanced_epoch | class_queue
                "importance": "",  # of balanced clips: paper | released | clip_counts
                "importance_offset_clips": 0.01,
                "wavmix_probability": 0.0,
                "wavmix_alpha": 2.0,  # Beta(a, a)
                "wavmix_major": True,  # the larger part is the clip's own
                "workers": 0,  # loader processes; 0 loads in threads
                "cache_decoded_bytes": 0,  # decoded clips kept in memory
            },
            "augment": dict(augment.DEFAULTS),  # everything off
            "clip_loss": "",  # weak: bce | ce; as the data's labels ask for
            "patchout": 0.0,  # part of the time steps that the encoder does not see
            "teacher": {"logits": "", "weight": 0.9},
            "optim": dict(optim.DEFAULTS),
            "batch_size": BATCH_SIZE,
            "accumulate": 1,  # parts of a batch, one after another: less memory
            "remat": "none",  # computed again in the backward pass: none | dots | blocks
            "steps": 1,
            "every": {"log": 50, "evaluate": 1000, "save": 500},
            # The run ends at an evaluation that is better than this value.
            "until": {"metric": "", "value": 0.0},
            # The model is the mean of so many of the last, or best, evaluated ones.
            "average": {"last": 0, "best": 0, "metric": "eval/map"},
            # The rate falls by this factor where so many evaluations bring no gain.
            "plateau": {"metric": "", "factor": 0.5, "patience": 2},
            "eval": {
                "metrics": ("psds1", "psds1_macro", "pauroc"),
                "median_seconds": 0.48,
                "batch_size": 64,
                "clip_seconds": 0.0,  # heard of a clip, for metrics of clips; 0: all of it
                "postprocess": "median",  # | hear | sebb; or what `jaxsed tune` wrote
                # Of metrics that take detections.
                "min_seconds": 0.0,  # shorter ones are left out
                "threshold": 0.5,
                "keep_empty_clips": False,  # clips without events are scored as well
            },
            "mesh": {"data": -1, "fsdp": 1},
            "overlap": True,  # TPUs exchange gradients while they compute
            "tensorboard": False,
            "licence": "",  # of the model; that of `init` is kept beside it
        }
    )


def teacher(encoder: str, seed: int) -> ConfigDict:
    """Returns step 3a: encoder + BiGRU, balanced sampling, every augmentation."""
    config = training("strong")
    config.seed = seed
    config.model.encoder = encoder
    config.model.sequence = "bigru"
    # Section II-D; the released code has 2048 for all.
    config.model.sequence_width = 1024 if encoder == "fpasst" else 2048
    config.data.sampling = "balanced"
    config.augment = ConfigDict(augment.TEACHER)
    return config


def student(encoder: str, seed: int) -> ConfigDict:
    """Returns step 3c: plain encoder, uniform sampling, mixup only."""
    config = training("strong")
    config.seed = seed
    config.model.encoder = encoder
    config.augment = ConfigDict(augment.STUDENT)
    return config


def ensemble(teachers: dict[str, str]) -> ConfigDict:
    """Returns step 3b: mean logits of the teachers (name -> model folder)."""
    defaults = training("ensemble")
    return ConfigDict(
        {
            "stage": "ensemble",
            "teachers": dict(teachers),
            "data": {"train": "", "eval": "", "clip_seconds": 0.0, "workers": 0},
            "targets": "frames",  # whose logits are stored: frames | clip
            "dtype": "float32",  # bfloat16: matmuls only
            "batch_size": defaults.batch_size,  # of each process
            "shard_clips": 1024,  # clips a file of logits
            "teachers_at_once": 0,  # held on a process's devices; 0: all
            "part": "",  # 3/16: the fourth of 16 jobs on their own
            "eval": {
                "metrics": defaults.eval.metrics,
                "median_seconds": defaults.eval.median_seconds,
            },
            "mesh": defaults.mesh,
        }
    )


def full_size(
    config: ConfigDict, data: str, epochs: int, epoch_clips: int = TRAIN_CLIPS
) -> ConfigDict:
    """Returns the config of a full-size run: where the data are, how long, how often.

    Args:
        config: of a training.
        data: folder written by `jaxsed prepare`, with `train` and `eval`.
        epochs: how long.
        epoch_clips: clips an epoch; a smaller copy of the data takes as many steps.

    Raises:
        InputError: one of these, or the batch, is below 1.
    """
    sizes = {"epochs": epochs, "clips": epoch_clips, "batch": config.batch_size}
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name}={size}: expected a whole number, at least 1")
    epoch_steps = math.ceil(epoch_clips / config.batch_size)
    config.model.dtype = "bfloat16"
    config.data.train = f"{data}/train"
    config.data.eval = f"{data}/eval"
    config.data.workers = WORKERS
    config.steps = epochs * epoch_steps
    config.mesh = ConfigDict({"data": 1, "fsdp": -1})  # one copy of the state in all
    config.every = ConfigDict(
        {"log": 50, "evaluate": 5 * epoch_steps, "save": epoch_steps}
    )
    return config


def phases_of(method: str, text: str) -> tuple[str, tuple[int, ...]]:
    """Reads the arguments `method` and `phases` of a recipe.

    Args:
        method: how time is compressed, see `models.compression.METHODS`; "" for `fshift`.
        text: factor C of each phase, such as `4-2-1`; `1` is a training without phases.

    Raises:
        InputError: factors that do not fall to 1, or a method without phases.
    """
    factors = phases.read_factors(text)
    if method and factors == (1,):
        raise InputError(
            f"method={method} does nothing without phases: give phases=2-1, for example"
        )
    return method or "fshift", factors


def in_phases(config: ConfigDict, method: str, text: str, epochs: int) -> ConfigDict:
    """Returns a training in phases; `--config.training.KEY` changes all of them.

    Args:
        config: of the training, of `epochs` epochs.
        method: see `phases_of`.
        text: factor C of each phase, such as `4-2-1`; `1` leaves the config as it is.
        epochs: shared out by the rule of From Coarse to Fine, sections 3.3 and 3.4.

    Raises:
        InputError: factors that do not fall to 1, or a method without phases.
    """
    method, factors = phases_of(method, text)
    if factors == (1,):
        return config
    epoch_steps = config.steps // epochs
    steps = [n * epoch_steps for n in phases.lengths(epochs, len(factors))]
    return ConfigDict(phases.in_phases(config.to_dict(), method, factors, steps))


def start_of(model: str, step2: bool) -> str:
    """Returns the released checkpoint that step 3 starts from.

    Args:
        model: one of the five; nothing is released for a tiny twin, which starts fresh.
        step2: after AudioSet Weak; otherwise after step 1.
    """
    return STARTS[model][step2] if model in STARTS else ""


def arguments(
    text: str, known_models: Iterable[str] = tuple(STARTS), **defaults: Any
) -> ConfigDict:
    """Parses what follows the colon of `--config=configs/student.py:model=beats,seed=2`.

    Args:
        text: `name=value` pairs, separated by commas.
        known_models: what the argument `model` may be, if there is one; or the tiny twin of
            one. The five of step 3 unless others are given. "" is left to the caller.
        **defaults: every argument there is; a value is read as the type of its default.

    Raises:
        InputError: an unknown argument, or a value that cannot be read.
    """
    found = dict(defaults)
    for pair in filter(None, text.split(",")):
        name, equals, value = pair.partition("=")
        check_known("argument", name, defaults)
        if not equals:
            raise InputError(f"argument {name!r} has no value: give {name}=VALUE")
        found[name] = _read(name, value, type(defaults[name]))
    if found.get("model"):
        check_known("model", found["model"].removeprefix("tiny_"), known_models)
    return ConfigDict(found)


def several(config: ConfigDict, folders: Iterable[str]) -> None:
    """Has a config train on several folders; `--config.data.train` takes a tuple then."""
    with config.ignore_type():
        config.data.train = tuple(folders)


def _read(name: str, value: str, kind: type) -> Any:
    if kind is bool:
        if value not in ("true", "false"):
            raise InputError(f"{name}={value}: expected true or false")
        return value == "true"
    try:
        return kind(value)
    except ValueError as error:
        raise InputError(f"{name}={value}: expected {kind.__name__}") from error
