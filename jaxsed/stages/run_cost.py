"""What a run has cost so far: operations of its forward passes, and time beside it.

Both are read off what a run leaves in its folder, so nothing is paid for while it runs:
its config says what a clip costs, its metrics how many clips there were and how fast.
Evaluation is neither counted nor timed, nor is the pass by which mode=frozen stores what
the encoder makes of all clips.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxsed.data.joined import open_data
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.operations import Operations
from jaxsed.stages import pretrain
from jaxsed.stages.cost import clip_operations, heads_operations
from jaxsed.stages.frozen import FROZEN
from jaxsed.stages.scoring import clip_length
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files

RATE = "train/clips_per_second"
# What the loss of a stage looks at; stages that are none of these train nothing.
TARGETS = {
    "weak": "clip",
    "strong": "frames",
    "downstream": "frames",
    "pretrain": None,
}
# With data and classes, all of a config that decides what a clip costs.
_COUNTED_BY = ("stage", "model", "mode", "patchout", "pretext")


class RunCost(NamedTuple):
    """Cost of one training, or of one phase of it.

    Attributes:
        name: Its folder, relative to that of the whole; "" for the whole itself.
        compression: As `model.compression` has it.
        clips: Clips seen, each as often as it was.
        per_clip: Operations of one of them.
        seconds: Wall time of the steps, with compiling the first of them.
    """

    name: str
    compression: str
    clips: int
    per_clip: Operations
    seconds: float

    @property
    def gflops(self) -> float:
        """Of all forward passes, in units of 1e9, two for each operation."""
        return self.clips * self.per_clip.gflops


def of_run(workdir: Path) -> list[RunCost]:
    """Returns the cost of every training in a folder: phases, links, cells of a grid.

    Args:
        workdir: of a run, finished or not.

    Raises:
        InputError: it is none, none of its links trains, or its data and model are gone.
    """
    costs = list(_trainings(workdir, "", {}))
    if not costs:
        raise InputError(f"{workdir}: no training has begun there")
    return costs


def _trainings(
    workdir: Path, name: str, counted: dict[str, Operations]
) -> Iterator[RunCost]:
    path = workdir / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: is it the folder of a run?"
        ) from error
    if not isinstance(config, dict) or "stage" not in config:
        raise InputError(f"{path} names no stage: is it the folder of a run?")
    if config["stage"] in TARGETS:
        yield _cost(config, workdir, name, counted)
        return
    for part in _parts(config, workdir):
        if (workdir / part / "config.json").exists():
            inner = f"{name}/{part}".lstrip("/")
            yield from _trainings(workdir / part, inner, counted)


def _parts(config: Mapping[str, Any], workdir: Path) -> list[str]:
    """Returns the folders of links in their order, of phases and a grid's cells by name."""
    if "order" in config:
        return config["order"]
    pattern = (
        "*/*/config.json" if config["stage"] == "grid" else "phase*_c*/config.json"
    )
    found = (path.parent.relative_to(workdir) for path in workdir.glob(pattern))
    return sorted(path.as_posix() for path in found)


def _cost(
    config: Mapping[str, Any], workdir: Path, name: str, counted: dict[str, Operations]
) -> RunCost:
    lines = read_metrics(workdir / "metrics.jsonl")
    batch_size = config["batch_size"]
    steps = lines[-1]["step"] if lines else 0
    timed = [(line["step"], line[RATE]) for line in lines if RATE in line]
    seconds = sum(
        (step - before) * batch_size / rate
        for (before, _), (step, rate) in itertools.pairwise([(0, 0.0), *timed])
    )
    compression = config["model"].get("compression", "none")
    n_classes = _n_classes(config, workdir)
    # A count takes seconds, and cells of a grid mostly have the same.
    alike = json.dumps([n_classes, config["data"], *map(config.get, _COUNTED_BY)])
    if alike not in counted:
        counted[alike] = _per_clip(config, n_classes)
    return RunCost(name, compression, steps * batch_size, counted[alike], seconds)


def _per_clip(config: Mapping[str, Any], n_classes: int) -> Operations:
    stage = config["stage"]
    model = sed.build(n_classes=n_classes, **config["model"])
    seconds = clip_length(config["data"].get("clip_seconds", 0.0), model)
    if config.get("mode") == FROZEN:
        return heads_operations(model, TARGETS[stage], seconds)
    options: dict[str, Any] = {"patchout_part": config.get("patchout", 0.0)}
    if stage == "pretrain":
        task = pretrain.task(config)
        options |= {"inputs": task.inputs, "draw": task.draw}
    return clip_operations(model, TARGETS[stage], seconds, **options)


def _n_classes(config: Mapping[str, Any], workdir: Path) -> int:
    try:  # what a finished run has, wherever its data are now
        return len(files.read_description(workdir / "model")["vocabulary"]["classes"])
    except InputError:
        reads_labels = TARGETS[config["stage"]] is not None
        return len(open_data(config["data"]["train"], reads_labels).vocabulary)
