"""Step 2: training on clip labels (Effective Pre-Training, section II-C)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsed import losses
from jaxsed.stages import train


def run(config: Mapping[str, Any], workdir: Path) -> None:
    """Trains encoder and weak head with clip-level binary cross-entropy."""

    def objective(logits, out, batch):
        return losses.clip_bce(out["clip_logits"], batch["clip_labels"])

    task = train.Task(name="weak", targets="clip", objective=objective)
    if config["model"]["head"] == "linear":  # attention pools frames that are scored
        task = dataclasses.replace(task, to_detector=to_detector)
    train.run(config, workdir, task)


def to_detector(params: Any) -> Any:
    """Lets a weakly trained model detect events.

    The weak head is linear on the mean over time, so the same weights applied frame
    by frame are what that mean averages: the class activation over time.
    """
    return {**params, "strong_head": params["weak_head"]}
