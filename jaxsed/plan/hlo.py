"""A compiled program: which instructions run, how often, and how long by estimate.

module = hlo.parse(compiled.as_text())
seconds = hlo.cycles(module) / clock_hz
"""

import dataclasses
import re
from collections.abc import Iterator

from jaxsed.plan import hlo_text, loops
from jaxsed.plan.hlo_text import Instruction, Module, first


def parse(text: str) -> Module:
    """Reads a program from its text, with the lengths of its loops.

    Raises:
        ValueError: there is no entry computation in it.
    """
    return loops.counted(hlo_text.read(text))


def executed(module: Module, inside: bool = False) -> Iterator[tuple[Instruction, int]]:
    """Yields every instruction that runs, and how often in one run of the program.

    Loops are unrolled by count (one of unknown length counts as one round, see
    `unknown_loops`); of a conditional's branches the one of most cycles runs.

    Args:
        module: from `parse`.
        inside: whether to yield, after a fusion or an asynchronous start, what it is
            made of as well.
    """
    yield from _executed(module, module.entry, 1, inside)


def _executed(module: Module, name: str, times: int, inside: bool):
    for instruction in module.computations[name]:
        yield instruction, times
        called, rounds = instruction.calls, times
        if instruction.opcode == "while":
            rounds *= 1 if instruction.trips is None else instruction.trips
        elif instruction.opcode == "conditional":
            called = (max(called, key=lambda branch: _cycles(module, branch)),)
        elif instruction.opcode != "call" and not inside:
            continue
        for other in called:
            yield from _executed(module, other, rounds, inside)


def cycles(module: Module) -> int:
    """Returns the compiler's estimate of one run: all instructions, one by one.

    What runs beside something else, as asynchronous copies and collectives do, has no
    cycles of its own or counts as if it ran alone.
    """
    return _cycles(module, module.entry)


def _cycles(module: Module, name: str) -> int:
    return sum(
        times * (instruction.cycles or 0)
        for instruction, times in _executed(module, name, 1, inside=False)
    )


def unknown_loops(module: Module) -> int:
    """Returns how many loops have a length that the compiler does not know."""
    return sum(
        instruction.opcode == "while" and instruction.trips is None
        for instruction, _ in executed(module)
    )


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A custom call, of which the compiler knows only what its author says.

    Attributes:
        target: what it calls; `tpu_custom_call` for kernels written in Pallas.
        op_name: where it comes from.
        times: how often it runs.
        flops: operations by its author's estimate; None without one.
        accessed_bytes: read and written by that estimate; without one the size of
            what it is given and gives back.
    """

    target: str
    op_name: str
    times: int
    flops: int | None
    accessed_bytes: int


# They rename bytes or reserve them; they compute nothing.
_FREE_CALLS = ("ConcatBitcast", "AllocateBuffer")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_COST = re.compile(r'"cost_estimate\\?":\{([^}]*)\}')


def kernels(module: Module) -> list[Kernel]:
    """Returns the custom calls that run and have no cycles."""
    found = []
    for line, times in executed(module):
        if line.opcode != "custom-call" or line.cycles is not None:
            continue
        target = first(_TARGET, line.attributes) or "unnamed"
        if target in _FREE_CALLS:
            continue
        cost = dict(re.findall(r"(\w+)\W+(\d+)", first(_COST, line.attributes) or ""))
        accessed = int(cost.get("bytes_accessed", line.operand_bytes + line.n_bytes))
        flops = int(cost["flops"]) if "flops" in cost else None
        found.append(Kernel(target, line.op_name, times, flops, accessed))
    return found
