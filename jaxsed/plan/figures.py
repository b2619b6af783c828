"""The figures of a plan, from the compiled training step.

Time is the TPU compiler's estimate: the cycles that it expects of every instruction that
runs, added up as if they ran one after the other, at the chip's clock. Of collectives it
expects nothing, so those for which the program waits are added: what a device sends at
least, at the speed of its links. Nor of kernels that are no code of its own: these count
as the operations and bytes that their authors declare, at the chip's peak and bandwidth.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxsed import optim
from jaxsed.plan import collectives, compile, flops, hlo, scopes, step
from jaxsed.plan.chips import Topology
from jaxsed.plan.collectives import Traffic
from jaxsed.stages.program import Program
from jaxsed.stages.scoring import clip_length
from jaxsed.training import sharding

PART_DEPTH = 4  # names of a scope that a plan keeps: model/encoder/block/attn
LITTLE = 0.01  # share of a step that is not worth a doubt


def plan(
    config: Mapping[str, Any], topology: Topology, n_classes: int
) -> dict[str, Any]:
    """Compiles the training step of a config and returns what there is to say of it.

    Args:
        config: as `configs/common.py` describes it.
        topology: what to compile for; the process has its `environment()`.
        n_classes: of the training data.

    Returns:
        Plain values, explained in docs/plan.md. `time`, `training` and `loader` are
        there for TPUs; with them `work` and `collectives` are missing where the program
        does not fit and so was not compiled.

    Raises:
        InputError: the config is wrong or does not fit the topology, or the topology's
            compiler is missing.
    """
    devices = compile.devices(topology)
    mesh = sharding.make_mesh(**config["mesh"], devices=devices)
    program, arguments = step.build(config, n_classes, mesh)
    figures = {
        "topology": topology.name,
        "devices": topology.n_devices,
        "hosts": len({device.process_index for device in devices}),
        "mesh": dict(mesh.shape),
        "model": _model(config, program),
        "batch_size": config["batch_size"],
        "accumulate": config["accumulate"],
        "remat": config["remat"],
        "steps": config["steps"],
    }
    try:
        compiled = compile.compile_for(devices, program.train_step, *arguments)
    except compile.OutOfMemory as error:
        used = {"total_bytes": error.used_bytes}
        return figures | {"memory": {**_limit(topology), **used, "fits": False}}
    module = hlo.parse(compiled.text)
    traffic = collectives.traffic(module, topology.n_devices)
    figures |= {
        "memory": _memory(compiled, topology),
        "work": _work(config, program, compiled),
        "collectives": {kind: dataclasses.asdict(t) for kind, t in traffic.items()},
        "compile_seconds": compiled.seconds,
    }
    if topology.chip is None:
        return figures
    figures["time"] = time(module, figures["work"], traffic, topology)
    rows = scopes.breakdown(
        module, topology.chip.clock_hz, PART_DEPTH, chip=topology.chip
    )
    figures["parts"] = [dataclasses.asdict(row) for row in rows]
    figures["doubts"] = doubts(module, figures["time"])
    return figures | _run(figures, step.clip_bytes(arguments[1]))


def time(
    module: hlo.Module,
    work: Mapping[str, float],
    traffic: Mapping[str, Traffic],
    topology: Topology,
) -> dict[str, float]:
    """Returns how long a step takes, in seconds, by estimate and at least.

    Args:
        module: the compiled program.
        work: `model_flops` of all devices, `accessed_bytes` of one.
        traffic: what devices exchange.
        topology: the devices.

    Returns:
        `computing` by the compiler's estimate; `kernels`, which it has none of;
        `waiting` for collectives; `step`, the sum, or `exchanging` where that is more.
        Beside it `arithmetic`, model FLOPs at the peak; `streaming`, bytes at the
        memory's bandwidth; `exchanging`, all collectives at the links' speed.
        `mfu`: arithmetic / step; `mfu_computing`: without the waiting.
    """
    chip = topology.chip
    link_bytes_per_second = max(topology.n_links, 1) * chip.link_bytes_per_second
    computing = hlo.cycles(module) / chip.clock_hz
    kernels = sum(
        k.times * chip.least_seconds(k.flops or 0, k.accessed_bytes)
        for k in hlo.kernels(module)
    )
    waiting = sum(t.waited_bytes for t in traffic.values()) / link_bytes_per_second
    exchanging = sum(t.sent_bytes for t in traffic.values()) / link_bytes_per_second
    step_seconds = max(computing + kernels + waiting, exchanging)
    arithmetic = work["model_flops"] / (topology.n_devices * chip.peak_flops)
    return {
        "step": step_seconds,
        "computing": computing,
        "kernels": kernels,
        "waiting": waiting,
        "arithmetic": arithmetic,
        "streaming": work["accessed_bytes"] / chip.hbm_bytes_per_second,
        "exchanging": exchanging,
        "mfu": arithmetic / step_seconds,
        "mfu_computing": arithmetic / (computing + kernels),
    }


def doubts(module: hlo.Module, time: Mapping[str, float]) -> list[str]:
    """Returns what is in a program that its estimate does not know, a line each."""
    found = []
    kernels = hlo.kernels(module)
    if kernels:
        names = ", ".join(sorted({kernel.target for kernel in kernels}))
        undeclared = sum(kernel.times for kernel in kernels if kernel.flops is None)
        bare = f"; {undeclared} declare none, and count their bytes" * (undeclared > 0)
        found.append(
            f"{sum(kernel.times for kernel in kernels)} kernels ({names}) count as what "
            f"they declare at the chip's peak, {1e3 * time['kernels']:.1f} ms: at "
            f"least{bare}"
        )
    if loops := hlo.unknown_loops(module):
        found.append(f"{loops} loops of a length unknown to the compiler count once")
    if time["waiting"] > LITTLE * time["step"]:
        found.append(
            f"{1e3 * time['waiting']:.1f} ms of waiting for other devices are a lower "
            "bound; the compiler has no estimate of it"
        )
    beside = time["exchanging"] - time["waiting"]
    if beside > LITTLE * time["step"]:
        found.append(
            f"{1e3 * beside:.1f} ms of exchange at least run beside computing, and "
            "count as nothing"
        )
    host = sum(n for line, n in hlo.executed(module) if line.opcode in _HOST)
    if host:
        found.append(f"{host} transfers to or from the host have no estimate")
    return found


_HOST = ("infeed", "outfeed", "send", "recv")


def _model(config: Mapping[str, Any], program: Program) -> dict[str, Any]:
    sizes = [leaf.size for leaf in jax.tree.leaves(program.abstract_state.params)]
    kept = ("encoder", "sequence", "dtype")
    return {**{k: config["model"][k] for k in kept}, "parameters": int(np.sum(sizes))}


def _limit(topology: Topology) -> dict[str, int | None]:
    return {"device_bytes": topology.chip and topology.chip.hbm_bytes}


def _memory(compiled: compile.Compiled, topology: Topology) -> dict[str, Any]:
    limit = _limit(topology)["device_bytes"]
    return {
        "device_bytes": limit,
        "argument_bytes": compiled.argument_bytes,
        "temporary_bytes": compiled.temporary_bytes,
        "total_bytes": compiled.total_bytes,
        "fits": None if limit is None else compiled.total_bytes <= limit,
    }


def _work(
    config: Mapping[str, Any], program: Program, compiled: compile.Compiled
) -> dict[str, float]:
    seconds = clip_length(config["data"]["clip_seconds"], program.model)
    layer_names = program.model.encoder.layer_names
    kept = optim.frozen(config["optim"], program.abstract_state.params, layer_names)
    task = step.task_of(config)
    one_clip = flops.training_flops(
        program.model,
        seconds,
        kept,
        config["patchout"],
        task.targets,
        task.inputs,
        task.draw,
    )
    return {
        "model_flops": config["batch_size"] * one_clip,
        "program_flops": compiled.flops,
        "accessed_bytes": compiled.accessed_bytes,
    }


def _run(figures: Mapping[str, Any], clip_bytes: int) -> dict[str, Any]:
    """What a step's time means for the whole training and for its loader."""
    seconds = figures["time"]["step"]
    clips_per_second = figures["batch_size"] / seconds
    hours = figures["steps"] * seconds / 3600
    per_host = clips_per_second / figures["hosts"]
    return {
        "training": {
            "clips_per_second": clips_per_second,
            "hours": hours,
            "device_hours": hours * figures["devices"],
        },
        "loader": {
            "clips_per_second_per_host": per_host,
            "bytes_per_second_per_host": per_host * clip_bytes,
            "devices_per_host": figures["devices"] // figures["hosts"],
        },
    }
