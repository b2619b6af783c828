"""Step 3: training on frame labels, as teacher or student (section II-D, III-A).

The two differ in the config alone. A teacher has a sequence model, balanced sampling
and all augmentations; a student has none of them, but the ensemble's logits as a
second target.

Some clips may have labels of the clip alone (`data.joined`): those are learned from them.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsed import losses
from jaxsed.data.joined import are_mixed
from jaxsed.errors import InputError, check_known
from jaxsed.models.heads import HEADS
from jaxsed.stages import train


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: it distils when `config.teacher.logits` is given.

    Raises:
        InputError: an unknown head, a weight that is none, or data that cannot be opened.
    """
    teacher = config["teacher"]
    losses.check_weight(teacher["weight"])

    def supervised(logits, out, batch):
        if "times_known" not in batch:
            return losses.frame_bce(logits, batch["labels"])
        return losses.frame_or_clip_bce(
            logits,
            batch["labels"],
            out["clip_logits"],
            batch["clip_labels"],
            batch["times_known"],
        )

    def distilled(logits, out, batch):
        if "times_known" in batch:
            raise InputError(
                "teacher.logits are of frames, but data.train has clips with labels of "
                "the whole clip: train on folders with times, or without teachers"
            )
        return losses.distillation(
            logits,
            batch["labels"],
            batch["teacher"],
            weight=teacher["weight"],
            teacher_valid=batch["teacher_valid"],
        )

    stage = train.Task(
        name="strong",
        targets="frames",
        objective=distilled if teacher["logits"] else supervised,
    )
    check_known("head", config["model"]["head"], HEADS)
    head = HEADS[config["model"]["head"]]
    if head.frames_pass_clips or are_mixed(config["data"]["train"]):
        return stage
    if head.interchangeable:
        return dataclasses.replace(stage, to_detector=to_tagger)
    return dataclasses.replace(stage, untrained=("weak_head",))


def to_tagger(params: Any) -> Any:
    """Lets a model that was trained on frames alone score clips, by their mean frame."""
    return {**params, "weak_head": params["strong_head"]}


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains on frame labels."""
    train.run(config, workdir, task(config))
