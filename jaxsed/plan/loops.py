"""How often loops run whose length the compiler did not note, but which constants say.

The TPU compiler notes none, neither of `jax.lax.scan` nor of the loops that it makes
itself (of products whose operand is still arriving from other devices, "windowed"). Both
count an integer up:

    condition:  compare(state[k], limit), direction=LT
    body:       state[k] <- add(state[k], stride)
"""

import dataclasses
from collections.abc import Mapping

from jaxsed.plan.hlo_text import Instruction, Module

Lines = Mapping[str, Instruction]


def counted(module: Module) -> Module:
    """Returns the module with `trips` of every loop that counts between constants."""
    by_name = {
        name: {line.name: line for line in lines}
        for name, lines in module.computations.items()
    }
    computations = {
        name: tuple(
            dataclasses.replace(line, trips=_trips(line, by_name[name], by_name))
            if line.opcode == "while" and line.trips is None
            else line
            for line in lines
        )
        for name, lines in module.computations.items()
    }
    return Module(computations, module.entry)


def _trips(
    loop: Instruction, around: Lines, by_name: Mapping[str, Lines]
) -> int | None:
    condition = by_name[_called(loop, "condition")]
    body = by_name[_called(loop, "body")]
    test, result = _root(condition), _root(body)
    if test.opcode != "compare" or "direction=LT" not in test.attributes:
        return None
    place = _place(condition[test.operands[0]])
    limit = condition[test.operands[1]].value
    if place is None or limit is None or result.opcode != "tuple":
        return None
    stride = _stride(body[result.operands[place]], body, place)
    begin = _constant(loop.operands[0], around, place)
    if not stride or begin is None:
        return None
    return max(0, -(-(limit - begin) // stride))


def _called(loop: Instruction, role: str) -> str:
    _, _, rest = loop.attributes.partition(f"{role}=%")
    return rest.partition(",")[0].strip()


def _root(lines: Lines) -> Instruction:
    return next(line for line in lines.values() if line.root)


def _place(line: Instruction) -> int | None:
    """Which part of the loop's state a line reads."""
    if line.opcode != "get-tuple-element":
        return None
    return int(line.attributes.partition("index=")[2].partition(",")[0])


def _stride(line: Instruction, body: Lines, place: int) -> int | None:
    """What is added to a part of the state in each round."""
    if line.opcode != "add":
        return None
    read = [body[name] for name in line.operands]
    if not any(_place(other) == place for other in read):
        return None
    return next((other.value for other in read if other.value is not None), None)


def _constant(name: str, lines: Lines, place: int) -> int | None:
    """The constant that a part of the state begins with."""
    state = lines.get(name)
    if state is None or state.opcode != "tuple":
        return None
    line = lines[state.operands[place]]
    while line.opcode in ("copy", "bitcast"):
        line = lines[line.operands[0]]
    return line.value
