"""Accelerators: what a chip can do, and the slices that chips come in.

Peak, memory and its bandwidth: Google's tables, cloud.google.com/tpu/docs/v4, /v5e, /v5p
and /v6e. Links: TPU v4 has six of 50 GB/s in either direction (Jouppi et al. 2023, "TPU
v4", Table 4); for the others Google's tables have the sum over a chip's links and both
directions, 400, 1200 and 800 GB/s over four, six and four links.

Clock: peak / (operations a cycle), for v4 and v5p 2 * 8 multipliers of 128 * 128, for
v5e half of that. It is the clock that libtpu 0.0.42.1 counts cycles in: by its estimates,
large products in bfloat16 run at 94 to 97 % of the peak then, and float32 arrays stream
at 72 to 81 % of the memory's bandwidth. For v6e its estimates need 2**19 operations a
cycle, twice what Google's page gives it multipliers for (87 % and 81 %).
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

    def least_seconds(self, flops: float, accessed_bytes: float) -> float:
        """Returns how long so many operations and bytes take at least."""
        by_memory = accessed_bytes / self.hbm_bytes_per_second
        return max(flops / self.peak_flops, by_memory)


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
        shape: how many devices along each axis.
        chip: what they are; None for a CPU's fake devices.
    """

    name: str
    shape: tuple[int, ...]
    chip: Chip | None

    @property
    def n_devices(self) -> int:
        """How many devices there are."""
        return math.prod(self.shape)

    @property
    def platform(self) -> str:
        """`tpu` or `cpu`."""
        return "cpu" if self.chip is None else "tpu"

    @property
    def n_links(self) -> int:
        """Links of the device that has the fewest: two along a ring, one at an end.

        An axis closes to a ring where it is the whole pod's, 16 devices (v5e, v6e), or
        where a slice is made of cubes of 4 x 4 x 4 (v4, v5p).
        """
        cubes = len(self.shape) == 3 and all(size % 4 == 0 for size in self.shape)
        return sum(2 if cubes or size == 16 else 1 for size in self.shape if size > 1)

    @property
    def host_shape(self) -> tuple[int, int, int]:
        """Devices of one host along three axes: 2 x 2, or up to 8 that are all there are.

        As Google's pages of the chips list them for training on several hosts.
        """
        shape = self.shape + (1,) * (3 - len(self.shape))
        return shape if self.n_devices <= 8 and shape[2] == 1 else (2, 2, 1)

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
        return Topology(name, (int(shape),), None)
    if kind in CHIPS:
        known = [f"{kind}:{shape}" for shape in CHIPS[kind].slices]
    else:
        known = [f"{kind}:{s}" for kind, chip in CHIPS.items() for s in chip.slices]
        known.append("cpu:8")
    check_known("topology", name, known)
    return Topology(name, tuple(int(size) for size in shape.split("x")), CHIPS[kind])


def check_compiler(topology: Topology) -> None:
    """Refuses a topology whose compiler is not installed.

    Raises:
        InputError: says what to install.
    """
    if topology.chip is None or "TPU_LIBRARY_PATH" in os.environ:
        return
    spec = importlib.util.find_spec("libtpu")
    if spec is None or spec.origin is None:  # a folder of that name is no package
        raise InputError(
            f"topology {topology.name} needs the TPU compiler, which is in the package "
            "libtpu: pip install libtpu (works without a TPU, on Linux), or take cpu:N"
        )
