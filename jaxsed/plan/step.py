"""The training step of a config, ready to be compiled: the real one, without data."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxsed.data.joined import are_mixed, are_there, open_data
from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.events import offset_frames
from jaxsed.stages import downstream, frozen, phases, pretrain, strong, weak
from jaxsed.stages.program import Program, build_program
from jaxsed.stages.scoring import clip_length
from jaxsed.stages.train import Task

TASKS: dict[str, Callable[[Mapping[str, Any]], Task]] = {
    "strong": strong.task,
    "downstream": downstream.task,
    "weak": weak.task,
    "pretrain": pretrain.task,
}
# What the recipes train on, for whoever has not prepared it yet.
VOCABULARIES = {
    "strong": "audioset_strong_447",
    "weak": "audioset_527",
    "pretrain": "audioset_527",  # which it does not read
}


def trainings(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Returns what a config trains: itself, named "", or its phases by their names.

    Raises:
        InputError: it is of stage `phases`, and these are not right.
    """
    if config["stage"] != "phases":
        return {"": config}
    chain = phases.as_chain(config)
    return {name: chain["links"][name] for name in chain["order"]}


def task_of(config: Mapping[str, Any]) -> Task:
    """Returns the stage of a config.

    Raises:
        InputError: it is not one that trains.
    """
    if config["stage"] not in TASKS:
        raise InputError(
            f"config.stage={config['stage']} has no training step of its own: plan the "
            f"config of one training ({' or '.join(TASKS)}), e.g. configs/student.py"
        )
    return TASKS[config["stage"]](config)


def count_classes(config: Mapping[str, Any]) -> tuple[int, str]:
    """Returns how many classes there are, and where that is known from.

    Raises:
        InputError: there are no data, and nothing else says.
    """
    folder = config["data"]["train"]
    if are_there(folder):
        reads_labels = task_of(config).targets is not None
        return len(open_data(folder, reads_labels).vocabulary), str(folder)
    if config["stage"] not in VOCABULARIES:
        raise InputError(
            f"data.train={folder}: not there, and what else would say how many classes "
            "there are? Prepare the data first"
        )
    name = VOCABULARIES[config["stage"]]
    return len(vocab.load(name)), f"{name}: no data in {folder or 'data.train'}"


def build(
    config: Mapping[str, Any], n_classes: int, mesh: Mesh
) -> tuple[Program, tuple]:
    """Returns the program and the arguments, shapes alone, of its `train_step`.

    Raises:
        InputError: the config is wrong, or does not fit the mesh.
    """
    task = task_of(config)
    if frozen.is_frozen(config):
        raise InputError(
            "mode=frozen trains heads on stored frames, which any device can: plan "
            "mode=finetune"
        )
    program = build_program(
        config, task.objective, n_classes, mesh, task.inputs, task.draw
    )
    batch = abstract_batch(config, task.targets, program.model, n_classes)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return program, (program.abstract_state, batch, key)


def abstract_batch(
    config: Mapping[str, Any], targets: str | None, model: Any, n_classes: int
) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns a batch on the wire, as `jaxsed.data.pipelines` describes it.

    Args:
        config: of a training.
        targets: `frames` or `clip`, None for no labels.
        model: what is trained.
        n_classes: classes of its targets.
    """
    seconds = clip_length(config["data"]["clip_seconds"], model)
    n_samples = round(seconds * model.frontend.sample_rate)
    frames = (int(offset_frames(seconds)), n_classes)
    kind = np.float16 if config["data"]["wavmix_probability"] else np.uint8
    batch = {
        "audio": ((n_samples,), np.int16),
        "index": ((), np.int32),
        "n_samples": ((), np.int32),
    }
    if targets == "frames":
        batch["labels"] = (frames, kind)
    elif targets == "clip":
        batch["clip_labels"] = ((n_classes,), kind)
    if are_labels_mixed(config, targets):
        batch |= {"clip_labels": ((n_classes,), kind), "times_known": ((), np.bool_)}
    if config["teacher"]["logits"]:
        of_frames = targets == "frames"
        name, shape = ("teacher", frames) if of_frames else ("clip_teacher", frames[1:])
        batch |= {name: (shape, np.float16), "teacher_valid": ((), np.bool_)}
    return {
        name: jax.ShapeDtypeStruct((config["batch_size"], *shape), dtype)
        for name, (shape, dtype) in batch.items()
    }


def are_labels_mixed(config: Mapping[str, Any], targets: str | None) -> bool:
    """Returns whether some clips have labels of the clip alone, as far as data are there.

    Args:
        config: of a training.
        targets: as of `abstract_batch`.
    """
    return targets == "frames" and are_mixed(config["data"]["train"])


def clip_bytes(batch: Mapping[str, jax.ShapeDtypeStruct]) -> int:
    """Returns the size of one example of a batch."""
    total = sum(array.size * array.dtype.itemsize for array in batch.values())
    return total // len(batch["audio"])
