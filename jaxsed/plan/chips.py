"""Accelerators: what a chip can do, and the slices that chips come in.

Peak, memory and bandwidth: Google's tables, cloud.google.com/tpu/docs/v4, /v5e, /v5p and
/v6e. Clock: peak / (2 * multipliers), with the multipliers that the same pages give (v4
and v5p: 8 units of 128 x 128; v5e: 4); for v6e, see `CHIPS`. The TPU compiler's cost
model runs at these clocks: a matrix product of 16,384 in bfloat16, which only the
multipliers bound, is estimated to take this many cycles. Links: TPU v4 has six of
50 GB/s a direction (Jouppi et al. 2023, "TPU v4", Table 4); the others' bandwidth a
chip, both directions and all links together, is in Google's tables.
"""

import dataclasses
import importlib.util
import math
import os
import re

from jaxsed.errors import InputError, check_known

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator chip, which JAX sees as one device.

    Attributes:
        peak_flops: bfloat16 operations a second.
        hbm_bytes: memory.
        hbm_bytes_per_second: its bandwidth.
        clock_hz: what the compiler's cycles are counted in.
        link_bytes_per_second: of one link to a neighbour, in one direction.
        slices: shapes that can be had, smallest first.
        megacore: whether two cores make one device.
    """

    peak_flops: float
    hbm_bytes: int
    hbm_bytes_per_second: float
    clock_hz: float
    link_bytes_per_second: float
    slices: tuple[str, ...]
    megacore: bool


_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
CHIPS = {
    "v4": Chip(275e12, 32 * GIB, 1200e9, 1.05e9, 50e9, _DEEP, True),
    "v5e": Chip(197e12, 16 * GIB, 819e9, 1.5e9, 50e9, _FLAT, False),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, 1.75e9, 100e9, _DEEP, True),
    "v6e": Chip(918e12, 32 * GIB, 1638e9, 1.75e9, 100e9, _FLAT, False),
}


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices that a program is compiled for.

    Attributes:
        name: as the user gives it, `v5e:4x4` or `cpu:8`.
        n_devices: how many.
        chip: what they are; None for a CPU's fake devices.
    """

    name: str
    n_devices: int
    chip: Chip | None

    @property
    def platform(self) -> str:
        """`tpu` or `cpu`."""
        return "cpu" if self.chip is None else "tpu"

    def environment(self) -> dict[str, str]:
        """Returns what a process that compiles for it needs in its environment."""
        # The host computes constants only: no accelerator that is here is taken.
        variables = {"JAX_PLATFORMS": "cpu"}
        if self.chip is None:
            flags = os.environ.get("XLA_FLAGS", "")
            flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", flags)
            count = f"--xla_force_host_platform_device_count={self.n_devices}"
            return {**variables, "XLA_FLAGS": f"{flags} {count}".strip()}
        return {
            **variables,
            "TPU_SKIP_MDS_QUERY": "1",  # do not ask a cloud which TPU this is
            "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # no device is taken: no lock needed
        }


def topology(name: str) -> Topology:
    """Returns the topology of a name, `CHIP:SHAPE` or `cpu:N`.

    Raises:
        InputError: there is none of that name; names the nearest.
    """
    kind, _, shape = name.partition(":")
    if kind == "cpu":
        if not re.fullmatch(r"[1-9]\d*", shape):
            raise InputError(
                f"topology {name}: expected cpu:N with a number of devices, e.g. cpu:8"
            )
        return Topology(name, int(shape), None)
    if kind in CHIPS:
        known = [f"{kind}:{shape}" for shape in CHIPS[kind].slices]
    else:
        known = [f"{kind}:{s}" for kind, chip in CHIPS.items() for s in chip.slices]
        known.append("cpu:8")
    check_known("topology", name, known)
    n_devices = math.prod(int(size) for size in shape.split("x"))
    return Topology(name, n_devices, CHIPS[kind])


def check_compiler(topology: Topology) -> None:
    """Refuses a topology whose compiler is not installed.

    Raises:
        InputError: says what to install.
    """
    if topology.chip is None or "TPU_LIBRARY_PATH" in os.environ:
        return
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"topology {topology.name} needs the TPU compiler, which is in the package "
            "libtpu: pip install libtpu (works without a TPU, on Linux), or take cpu:N"
        )
