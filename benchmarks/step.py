"""Steps a second of the training step: devices, parts of a batch, rematerialisation.

    python -m benchmarks.step [--encoders tiny_atst_frame,mid_atst_frame] [--batch 32]
        [--clip_seconds 2] [--repeats 5] [--ways ...] [--out docs/step.md]

The whole step of a student (mixup, front-end, forward, backward, Adam) on made-up clips,
on 1 and on 8 fake devices of this machine's CPU. Each way is a process of its own; they
take turns, and the table has medians of `--repeats` steps; what a device holds is the
compiler's word, and the peak of a process is mostly that of compiling. Eight fake devices share the
cores that one has to itself: what they show is the cost of splitting, not its gain.

All ways' memory is held at once: name some `--ways` at a time where it does not fit.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.side_by_side import Contender, race, serve

N_CLASSES = 447


@dataclasses.dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        devices: fake devices.
        fsdp: of them that share one copy of the parameters.
        accumulate: parts of a batch.
        remat: as in a config.
    """

    devices: int = 1
    fsdp: int = 1
    accumulate: int = 1
    remat: str = "none"


WAYS = {
    "1 device": Way(),
    "in 4 parts": Way(accumulate=4),
    "remat dots": Way(remat="dots"),
    "remat blocks": Way(remat="blocks"),
    "in 4 parts, remat blocks": Way(accumulate=4, remat="blocks"),
    "8 data": Way(devices=8),
    "8 fsdp": Way(devices=8, fsdp=8),
    "8 fsdp, in 4 parts": Way(devices=8, fsdp=8, accumulate=4),
}
HEADER = (
    "| encoder | way | steps/s | beside {first} | compile, first step | a device: state "
    "and batch | a device: activations | peak of the process |\n"
    "|---|---|---|---|---|---|---|---|"
)


def prepare(
    encoder: str, way: Way, batch: int, clip_seconds: float
) -> Callable[[], object]:
    """Returns a training step, ready to be timed.

    Args:
        encoder: a name in `models.sed.ENCODERS`, or `mid_atst_frame`.
        way: how it is computed.
        batch: clips.
        clip_seconds: of each.
    """
    import jax
    import numpy as np

    from benchmarks import mid_size
    from configs import common
    from jaxsed import losses
    from jaxsed.stages import program, start
    from jaxsed.training import sharding

    mid_size.register()
    config = common.student(encoder, seed=0).to_dict()
    config |= {"batch_size": batch, "steps": 1000}
    config |= {"accumulate": way.accumulate, "remat": way.remat}
    mesh = sharding.make_mesh(fsdp=way.fsdp)
    built = program.build_program(
        config,
        lambda logits, out, batch: losses.frame_bce(logits, batch["labels"]),
        N_CLASSES,
        mesh,
    )
    model, shardings = built.model, built.shardings
    params = start.start_params(
        model, built.abstract_state.params, 0, "", shardings.params
    )
    held = [jax.jit(built.create, out_shardings=shardings)(params)]
    rng = np.random.default_rng(0)
    n_samples = round(clip_seconds * model.frontend.sample_rate)
    labels = (batch, round(25 * clip_seconds), N_CLASSES)
    clips = {
        "audio": (3000 * rng.standard_normal((batch, n_samples))).astype(np.int16),
        "labels": (rng.random(labels) < 0.01).astype(np.uint8),
    }
    clips = sharding.put_batch(clips, mesh)

    key = jax.random.key(0)
    train_step = built.train_step.lower(held[0], clips, key).compile()

    def call():
        held[0], measurements = train_step(held[0], clips, key)
        return measurements["loss"].block_until_ready()

    memory = train_step.memory_analysis()
    call.facts = {
        "state_mib": memory.argument_size_in_bytes / 2**20,
        "activations_mib": memory.temp_size_in_bytes / 2**20,
    }
    return call


def contender(encoder: str, name: str) -> Contender:
    """Starts the process that computes steps in one way."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    # Compile time is reported: nothing may come from an earlier run.
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    flag = f"--xla_force_host_platform_device_count={WAYS[name].devices}"
    environment["XLA_FLAGS"] = flag
    command = [sys.executable, "-m", "benchmarks.step", "--serve", encoder, name]
    return Contender(command, environment)


def table(encoder: str, ways: Sequence[str], repeats: int, **cell: float) -> list[str]:
    """Races the ways on one encoder; returns the lines of the table."""
    racing = {name: contender(encoder, name) for name in ways}
    try:
        results = race(racing, repeats, **cell)
    finally:
        for one in racing.values():
            one.close()
    first = results[ways[0]]["seconds"]
    return [
        f"| {encoder} | {name} | {1 / result['seconds']:.2f} | "
        f"{first / result['seconds']:.2f}x | {result['first_seconds']:.1f} s | "
        f"{result['state_mib']:.0f} MiB | {result['activations_mib']:.0f} MiB | "
        f"{result['peak_mib']:.0f} MiB |"
        for name, result in results.items()
    ]


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoders", default="tiny_atst_frame,mid_atst_frame")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--clip_seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--ways", default=";".join(WAYS), help="separated by ;")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        encoder, name = args.serve
        serve(lambda **cell: prepare(encoder, WAYS[name], **cell))
        return
    ways = args.ways.split(";")
    lines = HEADER.format(first=ways[0]).splitlines()
    for encoder in args.encoders.split(","):
        cell = {"batch": args.batch, "clip_seconds": args.clip_seconds}
        lines += table(encoder, ways, args.repeats, **cell)
    print("\n".join(lines))
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
