"""What the devices of a compiled program tell each other: how often, and how much."""

import dataclasses
import math
import re

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
        waited_bytes: part of that for which the program waits: it computes nothing
            else meanwhile.
    """

    count: int = 0
    n_bytes: int = 0
    sent_bytes: int = 0
    waited_bytes: int = 0


def traffic(module: hlo.Module, n_devices: int) -> dict[str, Traffic]:
    """Returns the collectives of a program by their kind, `KINDS`.

    Args:
        module: from `hlo.parse`.
        n_devices: of the program; those of a collective that names none.
    """
    found: dict[str, Traffic] = {}
    # Collectives inside of something else run beside its computing. Each is then in
    # several fusions, from the one that starts it to the one that ends it.
    waiting = {id(line) for line, _ in hlo.executed(module)}
    channels = set()
    for line, times in hlo.executed(module, inside=True):
        kind = line.opcode.removesuffix("-start")
        channel = _CHANNEL.search(line.attributes)
        if kind not in KINDS or (channel and channel[1] in channels):
            continue
        channels.add(channel and channel[1])
        group = _group_size(line.attributes) or n_devices
        payload = line.operand_bytes * (group if kind == "all-gather" else 1)
        sent = times * _sent(kind, payload, line.n_bytes, group)
        waits = kind == line.opcode and id(line) in waiting
        so_far = found.get(kind, Traffic())
        found[kind] = Traffic(
            so_far.count + times,
            so_far.n_bytes + times * payload,
            so_far.sent_bytes + sent,
            so_far.waited_bytes + sent * waits,
        )
    return found


def _sent(kind: str, payload: int, result: int, group: int) -> int:
    """Bytes that each of a group's devices sends at least (Thakur et al. 2005, Table 1).

    A sum is a reduce-scatter and an all-gather, of which each device sends all but its
    own part. The TPU compiler rounds float32 sums to bfloat16 where nothing else is
    wanted of them: what is gathered then is half of what is summed.
    """
    if kind in ("collective-permute", "collective-broadcast"):
        return payload

    def all_but_one(n_bytes: int) -> int:
        return n_bytes * (group - 1) // max(group, 1)

    gathered = all_but_one(min(payload, result)) if kind == "all-reduce" else 0
    return all_but_one(payload) + gathered


_CHANNEL = re.compile(r"channel_id=(\d+)")
_LISTED = re.compile(r"replica_groups=\{\{([\d,]+)\}")
_COUNTED = re.compile(r"replica_groups=\[\d+,(\d+)\]<=")
_OF_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}")
_AXIS = re.compile(r"'(\w+)'=(\d+)")


def _group_size(attributes: str) -> int | None:
    """Returns how many devices talk to each other; None for all of them."""
    if found := _COUNTED.search(attributes):
        return int(found[1])
    if found := _LISTED.search(attributes):
        return found[1].count(",") + 1
    if found := _OF_MESH.search(attributes):
        sizes = dict(_AXIS.findall(found[1]))
        return math.prod(int(sizes[name]) for name in re.findall(r"'(\w+)'", found[2]))
    return None
