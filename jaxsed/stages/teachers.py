"""The teachers of an ensemble: checked before any work, held on this process's devices."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.predictions import INT16_SCALE
from jaxsed.stages.scoring import clip_length
from jaxsed.training import sharding
from jaxsed.weights import architecture, files, fresh, named

_ARCHITECTURE = (
    "encoder",
    "sequence",
    "head",
    "compression",
    "frontend",
    "drop_layers",
)


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained model that is part of an ensemble; its parameters are still on disk.

    Attributes:
        name: in the config.
        folder: of the model.
        description: its `model.json`.
        model: what the parameters belong to.
    """

    name: str
    folder: Path
    description: Mapping[str, Any]
    model: SoundEventModel

    @property
    def sample_rate(self) -> int:
        """Of the sound it hears, Hz."""
        return self.model.frontend.sample_rate

    @property
    def vocabulary(self) -> Vocabulary:
        """Classes of its logits."""
        return Vocabulary.from_json(self.description["vocabulary"])

    @property
    def architecture(self) -> str:
        """The same for teachers that one compiled program serves."""
        parts = [self.description.get(name) for name in _ARCHITECTURE]
        return json.dumps(parts, sort_keys=True)


def open_teachers(
    folders: Mapping[str, str],
    clip_seconds: Sequence[float],
    dtype: str = "float32",
    targets: str = "frames",
) -> list[Teacher]:
    """Reads what the teachers are, without their parameters.

    Args:
        folders: name -> model folder, or name of a released model.
        clip_seconds: lengths of clips that all of them are to hear.
        dtype: of the matrix products.
        targets: `frames`, or `clip` for the logits of whole clips.

    Returns:
        The teachers sorted by name: the order in which their logits are summed.

    Raises:
        InputError: there are none; one is missing or damaged, hears no clips of this
            length, or was never trained to give such logits; or two have different class
            lists. Named.
    """
    if not folders:
        raise InputError("teachers is empty: name at least one model folder")
    teachers = []
    for name in sorted(folders):
        try:
            folder = named.model_folder(folders[name])
            description = files.read_description(folder)
            teacher = Teacher(
                name,
                folder,
                description,
                architecture.build_with_classes(description, dtype),
            )
            for seconds in clip_seconds:
                clip_length(seconds, teacher.model)
            for head in fresh.guessing_heads(description, targets):
                raise InputError(
                    f"its {head} was never trained, so its logits with targets="
                    f"{targets} are chance: train it on such labels first"
                )
        except InputError as error:
            raise InputError(f"teacher {name!r}: {error}") from error
        teachers.append(teacher)
    first = teachers[0]
    for teacher in teachers:
        if teacher.vocabulary.hash != first.vocabulary.hash:
            raise InputError(
                f"teachers {first.name!r} and {teacher.name!r} have different class "
                "lists: an ensemble needs teachers trained on the same data"
            )
    return teachers


def local_mesh(data: int = -1, fsdp: int = 1) -> Mesh:
    """Returns the mesh of this process's own devices; see `sharding.make_mesh`.

    Raises:
        InputError: the product is not the number of devices.
    """
    devices = np.array(jax.local_devices())
    if data == -1:
        data = len(devices) // max(fsdp, 1)
    if data < 1 or fsdp < 1 or data * fsdp != len(devices):
        raise InputError(
            f"mesh data={data} x fsdp={fsdp} needs {data * fsdp} devices, but a process "
            f"of the ensemble computes on its own {len(devices)}: use mesh.data=-1 and "
            f"choose mesh.fsdp to divide {len(devices)}"
        )
    return Mesh(devices.reshape(data, fsdp), sharding.BATCH_AXES)


class HeldTeachers:
    """Some of the teachers with their parameters on the devices, and their programs.

    Programs are compiled once an architecture and stay, whoever is held.

    Args:
        mesh: of this process's devices.
        targets: `frames`, or `clip` for the logits of whole clips, as of one frame.
    """

    def __init__(self, mesh: Mesh, targets: str = "frames"):
        self._mesh, self._targets = mesh, targets
        self._params: dict[str, Any] = {}
        self._programs: dict[str, Any] = {}

    def hold(self, teachers: Sequence[Teacher]) -> None:
        """Loads the parameters of these teachers and lets go of all others'.

        Raises:
            InputError: a model folder is damaged.
        """
        names = [teacher.name for teacher in teachers]
        for name in self._params.keys() - set(names):
            del self._params[name]
        for teacher in teachers:
            if teacher.name not in self._params:
                params, _ = files.load_model(teacher.folder)
                shardings = sharding.state_sharding(self._mesh, params)
                self._params[teacher.name] = jax.device_put(params, shardings)

    def add(
        self, teacher: Teacher, audio: jax.Array, total: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Adds what a held teacher says of a batch; returns at once, while it computes.

        Args:
            teacher: one that is held.
            audio: int16 `[b, n]` at its sample rate, on the devices.
            total: float32 `[b, t, c]`, what the teachers before it say; given up.

        Returns:
            The new total, and bool `[b]`: whether all logits of a clip are finite.
        """
        params = self._params[teacher.name]
        program = self._programs.get(teacher.architecture)
        if program is None:
            shardings = sharding.state_sharding(self._mesh, params)
            program = _adding_program(
                teacher.model, self._mesh, shardings, self._targets
            )
            self._programs[teacher.architecture] = program
        return program(params, audio, total)

    def mean(self, total: jax.Array, n_teachers: int) -> jax.Array:
        """Returns the mean as it is stored: float16, finite, like `total` otherwise.

        The devices convert: NumPy takes a millisecond for a clip of 447 classes.

        Args:
            total: float32 `[b, t, c]`; given up.
            n_teachers: that were added.
        """
        return _mean(total, np.float32(n_teachers))

    def put(self, array: np.ndarray) -> jax.Array:
        """Moves an array `[b, ...]` to the devices, shared out as a batch is."""
        return jax.device_put(array, sharding.batch_sharding(self._mesh))

    def zeros(self, shape: tuple[int, ...]) -> jax.Array:
        """Returns float32 zeros on the devices, shared out as a batch is."""
        return jnp.zeros(shape, device=sharding.batch_sharding(self._mesh))


@functools.partial(jax.jit, donate_argnums=0)
def _mean(total: jax.Array, n_teachers: jax.Array) -> jax.Array:
    largest = jnp.finfo(jnp.float16).max.astype(jnp.float32)
    return jnp.clip(total / n_teachers, -largest, largest).astype(jnp.float16)


def _adding_program(
    model: SoundEventModel, mesh: Mesh, param_shardings: Any, targets: str
):
    batch = sharding.batch_sharding(mesh)

    def add(params, audio, total):
        wave = audio.astype(jnp.float32) * INT16_SCALE
        logits, out = model.apply({"params": params}, model.frontend(wave))
        if targets == "clip":
            logits = out["clip_logits"][:, None]
        logits = logits.astype(jnp.float32)
        return total + logits, jnp.isfinite(logits).all(axis=(1, 2))

    return jax.jit(
        add,
        in_shardings=(param_shardings, batch, batch),
        out_shardings=(batch, batch),
        donate_argnums=2,
    )
