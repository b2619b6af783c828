"""What the configs of downstream tasks share (Effective Pre-Training, section IV)."""

from typing import Any

from ml_collections import ConfigDict

from configs import common
from jaxsed.errors import InputError, check_known

# The paper's five transformers after its whole pipeline, as released.
STEP_3 = {
    "atst_frame": "ATST-F_strong_1",
    "beats": "BEATs_strong_1",
    "fpasst": "fpasst_strong_1",
    "m2d": "M2D_strong_1",
    "asit": "ASIT_strong_1",
}
# Arguments of all downstream configs; lr=0 and optimizer= are those of the mode, and
# steps=0 is for a recipe to fill in.
ARGUMENTS = {
    "model": "atst_frame",
    "weights": "strong",
    "mode": "finetune",
    "seed": 0,
    "lr": 0.0,
    "optimizer": "",
    "drop_layers": 0,
    "layer_decay": 0.0,
    "batch": common.BATCH_SIZE,
    "steps": 0,
    "on": "validation",
}


def arguments(text: str, data: str, **own: Any) -> ConfigDict:
    """Parses the arguments of a downstream config.

    Args:
        text: see `common.arguments`.
        data: default of the argument `data`, the folder of the prepared splits.
        **own: more arguments with their defaults, or other defaults for those of all.

    Raises:
        InputError: an unknown argument, or a value that cannot be read.
    """
    return common.arguments(text, **{**ARGUMENTS, "data": data, **own})


def settings(given: ConfigDict, layer_decay: float = 1.0) -> ConfigDict:
    """Returns a training on a task of one's own (Effective Pre-Training, section IV).

    What the paper leaves unsaid is from the one downstream script that was released,
    PretrainedSED's `ex_dcase2016task2.py` and its two commands in the README: AdamW with
    decay 0.001, a cosine after 100 steps (its option; the code then warms up for 4,000, of
    about 600), batches of 256, and for a frozen encoder Adam at another rate.

    Args:
        given: from `arguments`. Of `data`, the split `train` is trained on and the one
            that `on` names is evaluated on; a recipe whose data lie elsewhere says so.
        layer_decay: where the argument `layer_decay` is left open.

    Raises:
        InputError: an unknown mode or split, or a layer decay where no layers learn.
    """
    check_known("mode", given.mode, ("finetune", "frozen"))
    check_known("on", given.on, ("validation", "eval"))
    frozen = given.mode == "frozen"
    config = common.training("downstream")
    config.seed, config.mode = given.seed, given.mode
    config.model.encoder = given.model
    config.model.drop_layers = given.drop_layers
    if not given.model.startswith("tiny_"):
        config.model.dtype = "bfloat16"
    config.init = weights_of(given.model, given.weights)
    config.data.train = f"{given.data}/train"
    config.data.eval = f"{given.data}/{given.on}"
    config.data.workers = common.WORKERS
    config.data.cache_decoded_bytes = 2**32  # 120 s are cut anew in every epoch
    config.steps, config.batch_size = given.steps, given.batch
    config.every.update(evaluate=max(1, given.steps // 10), save=200)
    config.optim.update(
        name=given.optimizer or ("adam" if frozen else "adamw"),
        max_lr=given.lr or (2e-1 if frozen else 1.06e-4),
        warmup_steps=min(100, given.steps // 10),
    )
    if config.optim.name == "adamw":
        config.optim.weight_decay = 0.001
    if frozen and given.layer_decay:
        raise InputError(
            f"layer_decay={given.layer_decay:g} does nothing with mode=frozen: the "
            "encoder's layers do not learn"
        )
    if not frozen:
        config.optim.layer_decay = given.layer_decay or layer_decay
    config.eval.keep_empty_clips = True
    return config


def weights_of(model: str, weights: str) -> str:
    """Returns what a downstream training starts from.

    Args:
        model: one of the five, or a tiny twin.
        weights: `ssl`, `weak` or `strong`, what is released of it after step 1, 2 or 3;
            `none` for chance; or a folder, or the name of a released model.

    Raises:
        InputError: nothing is released of this model.
    """
    steps = ("ssl", "weak", "strong")
    if weights not in steps:
        return "" if weights == "none" else weights
    if model not in common.STARTS:
        raise InputError(
            f"weights={weights}: nothing is released of {model}; give the folder of a "
            "model, or weights=none to start from chance"
        )
    return (*common.STARTS[model], STEP_3[model])[steps.index(weights)]
