"""Reads the text of a compiled program into instructions.

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
from collections.abc import Mapping

BITS = {"pred": 8, "token": 0, "opaque": 0}  # other types end in their number of bits


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: unique in its computation.
        opcode: such as `fusion`.
        n_bytes: size of the result, all its parts together.
        operands: names of the lines that it reads, in the same computation.
        operand_bytes: size of what these give.
        calls: computations that it runs: a fusion's one, a loop's body and condition,
            the branches of a conditional.
        op_name: where it comes from, as JAX names it; of a fusion, its last operation.
        cycles: the compiler's estimate; None where it gave none.
        trips: of a loop, how often the body runs, where the compiler noted it.
        value: of a constant that is one integer.
        root: whether this is what its computation gives back.
        attributes: all that follows the operands.
    """

    name: str
    opcode: str
    n_bytes: int
    operands: tuple[str, ...]
    operand_bytes: int
    calls: tuple[str, ...]
    op_name: str
    cycles: int | None
    trips: int | None
    value: int | None
    root: bool
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
_INSTRUCTION = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = (.+)$")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLS = re.compile(
    r"\b(?:calls|to_apply|body|condition|true_computation|false_computation"
    r"|branch_computations)=(\{[^}]*\}|%[\w.\-]+)"
)
_OP_NAME = re.compile(r'\bop_name="([^"]*)"')
_CYCLES = re.compile(r'"estimated_cycles\\?":\\?"?(\d+)')
_TRIPS = re.compile(r'"known_trip_count\\?":\{\\?"n\\?":\\?"?(\d+)')
_INTEGER = re.compile(r"\((-?\d+)\)")
_BITS = re.compile(r"(\d+)")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
# `to_apply` of anything else is what a reduction does to two numbers.
_RUNS_TO_APPLY = ("call", "async-start")


def read(text: str) -> Module:
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
            root = found[1] is not None
            lines[found[2]] = _instruction(found[2], found[3], root, lines)
    if entry not in computations:
        raise ValueError("no ENTRY computation: this is not the text of an HLO module")
    return Module(computations, entry)


def _instruction(
    name: str, text: str, root: bool, before: Mapping[str, Instruction]
) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.find(" ")
    shape, text = text[:end], text[end:].lstrip()
    opcode, _, _ = text.partition("(")
    end = _closing(text, len(opcode))
    arguments, attributes = text[len(opcode) : end], text[end:]
    operands = tuple(_NAME.findall(arguments))
    integer = _INTEGER.fullmatch(arguments) if opcode == "constant" else None
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
        operands=operands,
        operand_bytes=sum(before[x].n_bytes for x in operands if x in before),
        calls=tuple(calls),
        op_name=first(_OP_NAME, attributes) or "",
        cycles=_number(_CYCLES, attributes),
        trips=_number(_TRIPS, attributes),
        value=int(integer[1]) if integer else None,
        root=root,
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
        * BITS.get(found[1], int(first(_BITS, found[1]) or 8))
        // 8
        for found in _ARRAY.finditer(shape)
    )


def first(pattern: re.Pattern, text: str) -> str | None:
    """Returns what the first group of a pattern is where it is first found."""
    found = pattern.search(text)
    return found[1] if found else None


def _number(pattern: re.Pattern, text: str) -> int | None:
    digits = first(pattern, text)
    return None if digits is None else int(digits)
