"""The figures of a plan, `figures.plan`, as text."""

from collections.abc import Iterator, Mapping
from typing import Any

Plan = Mapping[str, Any]
Line = tuple[str, str]

N_PARTS = 10  # of a step, the longest
# What holds for every plan; `doubts` of a plan add what is in its program.
TRUST = (
    "memory is what the compiler reserved. Time is its estimate of each instruction, "
    "added up: good for comparing programs, unproven by a clock. It leaves out loading, "
    "evaluation, checkpoints and starting. XLA's optimal_seconds is not used: it goes "
    "negative where an operation is unknown to it."
)


def text(plan: Plan) -> str:
    """Returns the report of `jaxsed plan`."""
    lines = list(_lines(plan))
    width = max(len(name) for name, _ in lines)
    found = [f"{name:{width}}  {value}".rstrip() for name, value in lines]
    return "\n".join(found)


def text_of_phases(plans: Mapping[str, Plan]) -> str:
    """Returns the reports of a training's phases, by name, and what all take together."""
    found = [f"{name}\n{text(plan)}" for name, plan in plans.items()]
    trainings = [plan["training"] for plan in plans.values() if "training" in plan]
    if len(trainings) == len(plans):
        hours, device_hours = (
            sum(training[unit] for training in trainings)
            for unit in ("hours", "device_hours")
        )
        found.append(f"all phases  {hours:.3g} h, {device_hours:.3g} device hours")
    return "\n\n".join(found)


def _lines(plan: Plan) -> Iterator[Line]:
    model, classes = plan["model"], plan["classes"]
    sequence = "" if model["sequence"] == "none" else f" + {model['sequence']}"
    yield (
        "model",
        f"{model['encoder']}{sequence}, {model['parameters'] / 1e6:.1f} M parameters, "
        f"{model['dtype']}",
    )
    yield "classes", f"{classes['count']} ({classes['from']})"
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan["mesh"].items())
    yield "devices", f"{plan['topology']}: {plan['devices']} ({mesh})"
    parts = f" in {plan['accumulate']} parts" if plan["accumulate"] > 1 else ""
    remat = "" if plan["remat"] == "none" else f", remat {plan['remat']}"
    yield "batch", f"{plan['batch_size']} clips{parts}{remat}"
    yield from _memory(plan["memory"])
    if "work" in plan:
        yield from _work(plan)
    if "time" in plan:
        yield from _time(plan)
        yield from _parts(plan)
        yield from _trust(plan)
    if "compile_seconds" in plan:
        versions = ", ".join(f"{k} {v}" for k, v in plan["versions"].items())
        yield "compiled", f"in {plan['compile_seconds']:.0f} s by {versions}"


def _memory(memory: Mapping[str, Any]) -> Iterator[Line]:
    total, limit = memory["total_bytes"], memory["device_bytes"]
    needed = "more than there is" if total is None else _gib(total)
    if limit is None:
        yield "memory a device", needed
    else:
        verdict = (
            "fits" if memory["fits"] else "DOES NOT FIT: see accumulate, remat, mesh"
        )
        yield "memory a device", f"{needed} of {_gib(limit)}: {verdict}"
    if "argument_bytes" in memory:
        yield "  state and batch", _gib(memory["argument_bytes"])
        yield "  temporary", _gib(memory["temporary_bytes"])


def _work(plan: Plan) -> Iterator[Line]:
    work = plan["work"]
    yield "model FLOPs a step", f"{work['model_flops'] / 1e12:.4g} T, all devices"
    yield (
        "XLA, a device",
        f"{work['program_flops'] / 1e12:.4g} TFLOP, "
        f"{work['accessed_bytes'] / 1e9:.4g} GB read and written",
    )
    for kind, one in sorted(plan["collectives"].items()):
        yield (
            kind,
            f"{one['count']} of {_mb(one['n_bytes'])} in all; a device sends "
            f"{_mb(one['sent_bytes'])}, of that {_mb(one['waited_bytes'])} while it waits",
        )
    if not plan["collectives"]:
        yield "collectives", "none"


def _time(plan: Plan) -> Iterator[Line]:
    time, training, loader = plan["time"], plan["training"], plan["loader"]
    kernels = f" + {_ms(time['kernels'])} kernels (at least)" if time["kernels"] else ""
    yield (
        "step",
        f"{_ms(time['step'])}: {_ms(time['computing'])} computing (compiler's estimate)"
        f"{kernels} + {_ms(time['waiting'])} waiting for others (at least)",
    )
    yield (
        "  beside it",
        f"{_ms(time['arithmetic'])} model FLOPs at the peak, "
        f"{_ms(time['exchanging'])} links; XLA's bytes at the memory's bandwidth "
        f"{_ms(time['streaming'])}, though some stay on the chip",
    )
    yield "  MFU", f"{time['mfu']:.0%}; without waiting {time['mfu_computing']:.0%}"
    yield (
        "training",
        f"{plan['steps']} steps: {training['hours']:.3g} h, "
        f"{training['device_hours']:.3g} device hours, "
        f"{training['clips_per_second']:,.0f} clips/s",
    )
    yield (
        "loader",
        f"{loader['clips_per_second_per_host']:,.0f} clips/s and "
        f"{_mb(loader['bytes_per_second_per_host'])}/s on each of {plan['hosts']} hosts "
        f"({loader['devices_per_host']} devices)",
    )


def _parts(plan: Plan) -> Iterator[Line]:
    name = "computing goes to"
    for part in plan["parts"][:N_PARTS]:
        share = part["seconds"] / sum(part["seconds"] for part in plan["parts"])
        scope = part["scope"] or "(no name)"
        direction = "" if part["direction"] == "forward" else f", {part['direction']}"
        yield name, f"{share:4.0%}  {_ms(part['seconds']):>9}  {scope}{direction}"
        name = ""


def _trust(plan: Plan) -> Iterator[Line]:
    yield "trust", TRUST
    for doubt in plan["doubts"]:
        yield "  not in it", doubt


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.2f} GiB"


def _mb(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:,.1f} MB"
