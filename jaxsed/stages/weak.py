"""Step 2: training on clip labels (Effective Pre-Training, section II-C)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxsed import losses
from jaxsed.stages import train


def task(config: Mapping[str, Any]) -> train.Task:
    """Returns the stage: clip-level binary cross-entropy of the weak head."""

    def objective(logits, out, batch):
        return losses.clip_bce(out["clip_logits"], batch["clip_labels"])

    stage = train.Task(name="weak", targets="clip", objective=objective)
    if config["model"]["head"] == "linear":  # attention pools frames that are scored
        stage = dataclasses.replace(stage, to_detector=to_detector)
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
