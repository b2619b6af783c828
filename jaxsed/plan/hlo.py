"""Reads a compiled program: which instructions run, how often, and what they move.

The program is XLA's optimised HLO in its text form, `compiled.as_text()`: computations,
one of them the entry, of instructions in the order in which they run:

    %fusion.7 = bf16[16,768]{1,0:T(8,128)} fusion(%a, %b), kind=kOutput,
        calls=%fused_computation.7, metadata={op_name="jit(step)/mlp/dot_general"},
        backend_config={"window_config":{"estimated_cycles":"5120"}}

(all in one line). `estimated_cycles` is what the TPU compiler's own cost model, by which
it chooses tile sizes and schedules, takes an instruction to last; other compilers write
none.
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Mapping

BITS = {"pred": 8, "token": 0, "opaque": 0}  # other types end in their number of bits


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: unique in its computation.
        opcode: such as `fusion`.
        n_bytes: size of the result, all its parts together.
        operand_bytes: size of what it reads.
        calls: computations that it runs: a fusion's one, a loop's body and condition,
            the branches of a conditional.
        op_name: where it comes from, as JAX names it; of a fusion, its last operation.
        cycles: the compiler's estimate; None where it gave none.
        trips: of a loop, how often the body runs; None where the compiler cannot tell.
        attributes: all that follows the operands.
    """

    name: str
    opcode: str
    n_bytes: int
    operand_bytes: int
    calls: tuple[str, ...]
    op_name: str
    cycles: int | None
    trips: int | None
    attributes: str


@dataclasses.dataclass(frozen=True)
class Module:
    """A program.

    Attributes:
        computations: name -> instructions in their order.
        entry: name of the computation that the program runs.
    """

    computations: Mapping[str, tuple[Instruction, ...]]
    entry: str


_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.+)$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLS = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation"
    r"|branch_computations)=(\{[^}]*\}|%[\w.\-]+)"
)
_OP_NAME = re.compile(r'\bop_name="([^"]*)"')
_CYCLES = re.compile(r'"estimated_cycles\\?":\\?"?(\d+)')
_TRIPS = re.compile(r'"known_trip_count\\?":\{\\?"n\\?":\\?"?(\d+)')
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
# `to_apply` of anything else is what a reduction does to two numbers.
_RUNS_TO_APPLY = ("call", "async-start")


def parse(text: str) -> Module:
    """Reads a program from its text.

    Raises:
        ValueError: there is no entry computation in it.
    """
    computations: dict[str, tuple[Instruction, ...]] = {}
    entry, name = "", ""
    lines: dict[str, Instruction] = {}
    for line in text.splitlines():
        if line.startswith("}"):
            computations[name] = tuple(lines.values())
        elif found := _COMPUTATION.match(line):
            name, lines = found[2], {}
            entry = name if found[1] else entry
        elif found := _INSTRUCTION.match(line):
            lines[found[1]] = _instruction(found[1], found[2], lines)
    if entry not in computations:
        raise ValueError("no ENTRY computation: this is not the text of an HLO module")
    return Module(computations, entry)


def _instruction(
    name: str, text: str, before: Mapping[str, Instruction]
) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.find(" ")
    shape, text = text[:end], text[end:].lstrip()
    opcode, _, _ = text.partition("(")
    end = _closing(text, len(opcode))
    operands, attributes = _NAME.findall(text[len(opcode) : end]), text[end:]
    calls = [
        called
        for found in _CALLS.finditer(attributes)
        for called in _NAME.findall(found[1])
        if opcode in _RUNS_TO_APPLY or not found[0].startswith("to_apply")
    ]
    return Instruction(
        name=name,
        opcode=opcode,
        n_bytes=shape_bytes(shape),
        operand_bytes=sum(before[x].n_bytes for x in operands if x in before),
        calls=tuple(calls),
        op_name=_first(_OP_NAME, attributes) or "",
        cycles=_number(_CYCLES, attributes),
        trips=_number(_TRIPS, attributes),
        attributes=attributes,
    )


def _closing(text: str, start: int) -> int:
    """Returns the place after the parenthesis that closes the first from `start` on."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.end()
    return len(text)


def shape_bytes(shape: str) -> int:
    """Returns the size of a type such as `(f32[16,250]{1,0}, pred[])`."""
    return sum(
        math.prod(int(size) for size in found[2].split(",") if size)
        * BITS.get(found[1], int(_first(re.compile(r"(\d+)"), found[1]) or 8))
        // 8
        for found in _ARRAY.finditer(shape)
    )


def _first(pattern: re.Pattern, text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None


def _number(pattern: re.Pattern, text: str) -> int | None:
    digits = _first(pattern, text)
    return None if digits is None else int(digits)


# --------------------------------------------------------------------- what runs


def executed(module: Module, inside: bool = False) -> Iterator[tuple[Instruction, int]]:
    """Yields every instruction that runs, and how often in one run of the program.

    Loops are unrolled by count (a loop of unknown length counts as one round, see
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
            rounds *= instruction.trips or 1
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
        target = _first(_TARGET, line.attributes) or "unnamed"
        if target in _FREE_CALLS:
            continue
        cost = dict(re.findall(r"(\w+)\W+(\d+)", _first(_COST, line.attributes) or ""))
        accessed = int(cost.get("bytes_accessed", line.operand_bytes + line.n_bytes))
        flops = int(cost["flops"]) if "flops" in cost else None
        found.append(Kernel(target, line.op_name, times, flops, accessed))
    return found
