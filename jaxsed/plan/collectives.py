"""What the devices of a compiled program tell each other: how often, and how much."""

import dataclasses
import re
from collections.abc import Iterator

from jaxsed.plan import hlo

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collectives of one kind in one run of a program.

    Attributes:
        count: how many.
        n_bytes: size of the arrays that they are about, as a whole: what is summed
            (all-reduce, reduce-scatter) or put together (all-gather).
        sent_bytes: what each device sends at least.
    """

    count: int
    n_bytes: int
    sent_bytes: int


def traffic(module: hlo.Module, n_devices: int) -> dict[str, Traffic]:
    """Returns the collectives of a program by their kind, `KINDS`.

    Args:
        module: from `hlo.parse`.
        n_devices: of the program; those of a collective that names none.
    """
    found: dict[str, Traffic] = {}
    for kind, payload, group, times in _collectives(module, n_devices):
        so_far = found.get(kind, Traffic(0, 0, 0))
        found[kind] = Traffic(
            so_far.count + times,
            so_far.n_bytes + times * payload,
            so_far.sent_bytes + times * _sent(kind, payload, group),
        )
    return found


def _sent(kind: str, payload: int, group: int) -> int:
    """Bytes that each of a group's devices sends at least (Thakur et al. 2005, Table 1).

    A sum is a reduce-scatter and an all-gather, of which each device sends all but its
    own part.
    """
    if kind in ("collective-permute", "collective-broadcast"):
        return payload
    share = payload * (group - 1) // max(group, 1)
    return 2 * share if kind == "all-reduce" else share


def _collectives(
    module: hlo.Module, n_devices: int
) -> Iterator[tuple[str, int, int, int]]:
    """Yields kind, payload in bytes, devices in a group, and times."""
    for instruction, times in hlo.executed(module, inside=True):
        kind = instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        group = _group_size(instruction.attributes) or n_devices
        payload = instruction.operand_bytes
        if kind == "all-gather":
            payload *= group
        yield kind, payload, group, times


_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")


def _group_size(attributes: str) -> int | None:
    """Returns how many devices talk to each other; None for all of them."""
    if found := _COUNTED.search(attributes):
        return int(found[1])
    if found := _LISTED.search(attributes):
        return found[1].count(",") + 1
    return None
