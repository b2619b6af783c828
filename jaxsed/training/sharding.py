"""Where arrays live: a mesh of `data` x `fsdp` devices.

A batch is split over both axes. Parameters and optimiser moments are split over
`fsdp` along their longest divisible axis and replicated over `data`; XLA inserts the
collectives. One CPU, eight fake devices, a GPU node and a TPU pod differ in the mesh
alone.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsed.errors import InputError

BATCH_AXES = ("data", "fsdp")
# Below this, gathering an array costs more than the memory that splitting it saves.
MIN_SPLIT_ELEMENTS = 2**14


def make_mesh(
    data: int = -1, fsdp: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """Returns the mesh over all devices of all processes.

    Args:
        data: number of replicas; -1 takes what `fsdp` leaves.
        fsdp: number of devices that share one copy of the parameters; -1 takes what
            `data` leaves.
        devices: others to take instead, such as those that a program is compiled for.

    Raises:
        InputError: the product is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    n_devices = len(devices)
    if data == fsdp == -1:
        raise InputError(
            f"mesh data=-1 x fsdp=-1: one of them has to be a number that divides the "
            f"{n_devices} devices"
        )
    if data == -1:
        data = n_devices // max(fsdp, 1)
    elif fsdp == -1:
        fsdp = n_devices // max(data, 1)
    if data < 1 or fsdp < 1 or data * fsdp != n_devices:
        raise InputError(
            f"mesh data={data} x fsdp={fsdp} needs {data * fsdp} devices, but there are "
            f"{n_devices}: choose one of them to divide {n_devices}, and -1 for the other"
        )
    auto = (jax.sharding.AxisType.Auto,) * 2
    return jax.make_mesh((data, fsdp), BATCH_AXES, axis_types=auto, devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of an array every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Returns the sharding of a batch: first axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def state_sharding(mesh: Mesh, abstract_state: Any) -> Any:
    """Returns a tree of shardings for a train state or parameter tree.

    Args:
        mesh: the mesh.
        abstract_state: tree of arrays or `jax.ShapeDtypeStruct`.
    """
    fsdp = mesh.shape["fsdp"]

    def leaf(array) -> NamedSharding:
        axes: list[str | None] = [None] * len(array.shape)
        divisible = [i for i, size in enumerate(array.shape) if size % fsdp == 0]
        if fsdp > 1 and divisible and np.prod(array.shape) >= MIN_SPLIT_ELEMENTS:
            axes[max(divisible, key=lambda i: array.shape[i])] = "fsdp"
        return NamedSharding(mesh, PartitionSpec(*axes))

    return jax.tree.map(leaf, abstract_state)


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Moves this process's part of a batch to its devices as one global batch."""
    sharding = batch_sharding(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in batch.items()
    }


def check_batch_size(batch_size: int, mesh: Mesh, accumulate: int = 1) -> None:
    """Refuses a global batch that the devices cannot share equally.

    Args:
        batch_size: of the global batch.
        mesh: devices.
        accumulate: parts of a batch that are computed one after another.

    Raises:
        InputError: `batch_size` is not a multiple of devices times parts.
    """
    if accumulate < 1:
        raise InputError(
            f"accumulate={accumulate}: expected 1 or more parts of a batch"
        )
    if batch_size % (mesh.size * accumulate):
        parts = f" in {accumulate} parts" if accumulate > 1 else ""
        raise InputError(
            f"batch_size={batch_size} cannot be split over {mesh.size} devices{parts}: "
            f"use a multiple of {mesh.size * accumulate}"
        )


def round_up_batch(batch_size: int, mesh: Mesh) -> int:
    """Returns the smallest batch size from `batch_size` on that devices can share."""
    return -(-batch_size // mesh.size) * mesh.size
