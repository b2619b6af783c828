"""Compiles a program for devices that are somewhere else.

    devices = compile.devices(chips.topology("v5e:4x4"))
    mesh = sharding.make_mesh(devices=devices)
    function = jax.jit(function, in_shardings=..., out_shardings=...)  # on that mesh
    compiled = compile.compile_for(devices, function, *abstract_arguments)
    module = hlo.parse(compiled.text)

The process needs `topology.environment()` before JAX starts. For TPUs, the package
`libtpu` holds the compiler; it needs no TPU.
"""

import dataclasses
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxsed.errors import InputError
from jaxsed.plan.chips import Topology, check_compiler


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled program and what its compiler says of it, for one device.

    Attributes:
        text: optimised HLO, for `hlo.parse`.
        argument_bytes: what the program is given.
        output_bytes: what it gives back.
        alias_bytes: part of the output that lies where the arguments were.
        temporary_bytes: what it needs beside them at its worst moment.
        code_bytes: the program itself.
        flops: operations of the optimised program, as XLA counts them.
        accessed_bytes: read and written, as XLA counts them.
        seconds: what compiling took.
    """

    text: str
    argument_bytes: int
    output_bytes: int
    alias_bytes: int
    temporary_bytes: int
    code_bytes: int
    flops: float
    accessed_bytes: float
    seconds: float

    @property
    def total_bytes(self) -> int:
        """Memory while the program runs."""
        held = self.argument_bytes + self.output_bytes - self.alias_bytes
        return held + self.temporary_bytes + self.code_bytes


class OutOfMemory(Exception):
    """The compiler found no way to fit the program into a device's memory.

    Attributes:
        used_bytes: what it would need; None if the compiler does not say.
    """

    def __init__(self, used_bytes: int | None):
        super().__init__("does not fit a device's memory")
        self.used_bytes = used_bytes


def devices(topology: Topology) -> list[jax.Device]:
    """Returns the devices of a topology, for a mesh to compile for.

    Raises:
        InputError: the compiler is not installed, or does not know the topology.
    """
    check_compiler(topology)
    if topology.platform == "cpu":
        return jax.devices("cpu")[: topology.n_devices]
    from jax.experimental import topologies

    options: dict[str, Any] = {"chips_per_host_bounds": topology.host_shape}
    if topology.chip.megacore:  # two cores of a chip as one device
        options["chip_config_name"] = "megacore"
    try:
        described = topologies.get_topology_desc(topology.name, "tpu", **options)
    except (RuntimeError, ValueError) as error:  # jax's are RuntimeErrors
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the installed libtpu cannot compile for {topology.name}: {reason}"
        ) from error
    return described.devices


def compile_for(
    devices: list[jax.Device], function: Callable, *arguments: Any
) -> Compiled:
    """Compiles a jitted function.

    Args:
        devices: from `devices`.
        function: result of `jax.jit`, with shardings on a mesh of these devices.
        *arguments: shapes and types, `jax.ShapeDtypeStruct`.

    Raises:
        OutOfMemory: the program does not fit.
        InputError: the compiler finds no place for a part of it on the chip itself.
    """
    begin = time.perf_counter()
    platform = devices[0].platform
    lowered = function.trace(*arguments).lower(lowering_platforms=(platform,))
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        on_chip = _ON_CHIP.search(str(error))
        if on_chip:
            raise InputError(
                f"the compiler for {devices[0].device_kind} needs {on_chip[1]}B of the "
                f"{on_chip[2]}B of vector memory on a chip for a part of this program, "
                "which would not run there: try --config.overlap=False, or "
                "--config.model.dtype=float32, which takes no kernels of attention"
            ) from error
        raise OutOfMemory(_used_bytes(str(error))) from error
    seconds = time.perf_counter() - begin
    memory, cost = compiled.memory_analysis(), _cost(compiled)
    return Compiled(
        text=compiled.as_text(),
        argument_bytes=memory.argument_size_in_bytes,
        output_bytes=memory.output_size_in_bytes,
        alias_bytes=memory.alias_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        code_bytes=memory.generated_code_size_in_bytes,
        flops=cost.get("flops", 0.0),
        accessed_bytes=cost.get("bytes accessed", 0.0),
        seconds=seconds,
    )


def _cost(compiled: Any) -> Mapping[str, float]:
    cost = compiled.cost_analysis() or {}
    return cost[0] if isinstance(cost, list) else cost


_ON_CHIP = re.compile(r"memory space vmem. Used ([\d.]+[KM]) of ([\d.]+[KM])")
# The compiler has two ways to say it: of the whole program, or of temporaries alone.
_USED = re.compile(r"(?:Used |required for HLO temporaries \()([\d.]+)([KMGT]?)")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _used_bytes(message: str) -> int | None:
    found = _USED.search(message)
    return round(float(found[1]) * _UNITS[found[2]]) if found else None
