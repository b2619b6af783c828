"""Step 3: training on frame labels, as teacher or student (section II-D, III-A).

The two differ in the config alone. A teacher has a sequence model, balanced sampling
and all augmentations; a student has none of them, but the ensemble's logits as a
second target.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsed import losses
from jaxsed.stages import train


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: it distils when `config.teacher.logits` is given."""
    teacher = config["teacher"]

    def supervised(logits, out, batch):
        return losses.frame_bce(logits, batch["labels"])

    def distilled(logits, out, batch):
        return losses.distillation(
            logits,
            batch["labels"],
            batch["teacher"],
            weight=teacher["weight"],
            teacher_valid=batch["teacher_valid"],
        )

    return train.Task(
        name="strong",
        targets="frames",
        objective=distilled if teacher["logits"] else supervised,
    )


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains on frame labels."""
    train.run(config, workdir, task(config))
