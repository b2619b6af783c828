"""Where a step's time goes, in terms of the program that was written.

    for row in breakdown(hlo.parse(text), clock_hz=1.5e9, depth=3):
        print(f"{1e3 * row.seconds:8.3f} ms  {row.direction:8}  {row.scope}")

JAX names an operation by the scopes around it, such as
`jit(train_step)/transpose(jvp(SoundEventModel))/encoder/block_3/attn/qkv/dot_general`;
the compiler keeps the names. A fusion has the name of its last operation, so what is
fused over the border of two scopes counts to the second.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator

from jaxsed.plan import hlo
from jaxsed.plan.chips import Chip

DIRECTIONS = ("forward", "backward", "again")  # again: rematerialised for the backward


@dataclasses.dataclass(frozen=True)
class Row:
    """A part of a program.

    Attributes:
        scope: such as `encoder/block_3/attn`; empty for what has no name.
        direction: one of `DIRECTIONS`.
        seconds: the compiler's estimate.
        times: how many instructions that is, loops unrolled.
    """

    scope: str
    direction: str
    seconds: float
    times: int


# Names that JAX puts between scopes; they say how something runs, not what it is.
_MACHINERY = re.compile(
    r"(jit|pjit)\(.*|.*<locals>.*|while|body|cond|branch_\d+_fun|closed_call|checkpoint|remat\d*"
    r"|rematted_computation|custom_[jv][vj]p_call(_jaxpr)?|shard_map|core_call|pallas_call"
)
_TRANSFORM = re.compile(r"(?:jvp|transpose|vmap|remat|checkpoint)\((.*)\)")


def scope_of(op_name: str) -> tuple[str, str]:
    """Returns scope and direction of an operation's name.

    The last part, which is the operation, is left out, as are transformations
    (`jvp(encoder)` is `encoder`) and the names of functions compiled within.
    """
    direction = "forward"
    if "transpose(" in op_name:
        direction = "backward"
    if "rematted_computation" in op_name:
        direction = "again"
    kept = []
    for part in list(_parts(op_name))[:-1]:
        while found := _TRANSFORM.fullmatch(part):
            part = found[1]
        if part and not _MACHINERY.fullmatch(part):
            kept.append(part)
    return "/".join(kept), direction


def _parts(op_name: str) -> Iterator[str]:
    """Splits at slashes outside parentheses."""
    depth, start = 0, 0
    for place, letter in enumerate(op_name):
        depth += (letter == "(") - (letter == ")")
        if letter == "/" and depth == 0:
            yield op_name[start:place]
            start = place + 1
    yield op_name[start:]


def breakdown(
    module: hlo.Module,
    clock_hz: float,
    depth: int = 2,
    merge_layers: bool = True,
    chip: Chip | None = None,
) -> list[Row]:
    """Returns the parts of a program, longest first; together they are all of it.

    Args:
        module: from `hlo.parse`.
        clock_hz: of the chip, `chips.CHIPS[...].clock_hz`.
        depth: how many names a scope is cut to; `encoder/block_3/attn` has three.
        merge_layers: whether numbers in names are left out: `block_3` is `block_*`.
        chip: counts kernels (`hlo.kernels`) as what this one takes for them at least;
            without one they count as nothing.
    """
    parts = [
        (line.op_name, count, line.cycles / clock_hz)
        for line, count in hlo.executed(module)
        if line.cycles is not None
    ]
    for kernel in hlo.kernels(module) if chip else ():
        least = chip.least_seconds(kernel.flops or 0, kernel.accessed_bytes)
        parts.append((kernel.op_name, kernel.times, least))
    seconds: dict = collections.Counter()
    times: dict = collections.Counter()
    for op_name, count, one in parts:
        scope, direction = scope_of(op_name)
        scope = "/".join(scope.split("/")[:depth])
        if merge_layers:
            scope = re.sub(r"(?<=_)\d+(?=/|$)", "*", scope)
        seconds[scope, direction] += count * one
        times[scope, direction] += count
    return [
        Row(scope, direction, part, times[scope, direction])
        for (scope, direction), part in seconds.most_common()
    ]


def by_opcode(module: hlo.Module, clock_hz: float) -> dict[str, float]:
    """Returns the compiler's estimate in seconds by kind of instruction, longest first."""
    seconds: dict = collections.Counter()
    for instruction, count in hlo.executed(module):
        if instruction.cycles is not None:
            seconds[instruction.opcode] += count * instruction.cycles / clock_hz
    return dict(seconds.most_common())
