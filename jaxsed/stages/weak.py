"""Step 2: training on clip labels (Effective Pre-Training, section II-C).

Also all of AST's and HTS-AT's training. Labels of several classes a clip are learned by
binary cross-entropy, optionally also from teachers; labels of one class a clip by
cross-entropy.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxsed import losses
from jaxsed.data.joined import are_there, open_data
from jaxsed.errors import InputError, check_known
from jaxsed.models.heads import HEADS
from jaxsed.stages import train

LOSSES = {"multi": "bce", "single": "ce"}  # by what the data's labels are


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: it distils when `config.teacher.logits` is given.

    Raises:
        InputError: the loss is unknown, does not fit the labels, or is none to distil
            with; or the weight of the teachers is none.
    """
    loss = config["clip_loss"] or LOSSES[_labels(config["data"]["train"])]
    check_known("clip_loss", loss, LOSSES.values())
    losses.check_weight(config["teacher"]["weight"])
    if loss == "ce":
        _check_single(config)

    def many(logits, out, batch):
        return losses.clip_bce(out["clip_logits"], batch["clip_labels"])

    def one(logits, out, batch):
        return losses.clip_ce(out["clip_logits"], batch["clip_labels"])

    def distilled(logits, out, batch):
        return losses.distillation(
            out["clip_logits"],
            batch["clip_labels"],
            batch["clip_teacher"],
            weight=config["teacher"]["weight"],
            teacher_valid=batch["teacher_valid"],
        )

    supervised = one if loss == "ce" else many
    stage = train.Task(
        name="weak",
        targets="clip",
        objective=distilled if config["teacher"]["logits"] else supervised,
    )
    check_known("head", config["model"]["head"], HEADS)
    head = HEADS[config["model"]["head"]]
    if head.interchangeable:
        stage = dataclasses.replace(stage, to_detector=to_detector)
    elif not head.clips_pass_frames:
        stage = dataclasses.replace(stage, untrained=("strong_head",))
    return stage


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains encoder and weak head on clip labels."""
    train.run(config, workdir, task(config))


def to_detector(params: Any) -> Any:
    """Lets a weakly trained model detect events.

    The weak head is linear on the mean over time, so the same weights applied frame
    by frame are what that mean averages: the class activation over time.
    """
    return {**params, "strong_head": params["weak_head"]}


def _labels(folder: str | Sequence[str]) -> str:
    """Whether clips have one label; what is not prepared (yet, or any more) has several."""
    return open_data(folder).labels if are_there(folder) else "multi"


def _check_single(config: Mapping[str, Any]) -> None:
    folder = config["data"]["train"]
    if are_there(folder) and _labels(folder) != "single":
        raise InputError(
            f"clip_loss=ce learns one class a clip, but clips of {folder} may have "
            "several: use clip_loss=bce"
        )
    if config["teacher"]["logits"]:
        raise InputError(
            "clip_loss=ce has no teachers, whose stored logits are of classes on their "
            "own: use clip_loss=bce, or leave out teacher.logits"
        )
