"""Clips per second of every encoder on this machine's CPU, beside eager PyTorch.

    python -m benchmarks.encoders [--encoders atst_frame,beats] [--batches 1,8]
        [--modes forward,step] [--dtypes float32,bfloat16] [--repeats 5]
        [--out docs/encoders.md]

Whole models with 447 classes on 10 s clips, front-end included: jaxsed in float32 and in
bfloat16, and the original in float32, each in a process of its own, in turn, medians of
`--repeats` runs. "step" is a training step: forward, backward, Adam.

The PyTorch side needs a checkout of PretrainedSED at `JAXSED_REFERENCE`, and an
environment that runs it: `JAXSED_REFERENCE_PYTHON` names its Python if that is not this
one. Without the former it is left out. All contenders' memory is held at once: where a
large batch does not fit, name one of the `--dtypes` at a time.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

from benchmarks.side_by_side import Contender, race

ENCODERS = ("atst_frame", "beats", "fpasst", "m2d", "asit", "frame_mn06", "frame_mn10")
HEADER = (
    "| encoder | mode, batch | PyTorch f32 | jaxsed f32 | jaxsed bf16 | f32 ratio | "
    "bf16 ratio | compile f32, bf16 | peak PyTorch, f32, bf16 |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def contenders(encoder: str, dtypes: list[str]) -> dict[str, Contender]:
    """Starts the processes that compete on an encoder."""
    # Compile time is reported: nothing may come from an earlier run.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    ours = [sys.executable, "-m", "benchmarks.encoder_worker", encoder]
    started = {dtype: Contender([*ours, dtype], environment) for dtype in dtypes}
    if os.environ.get("JAXSED_REFERENCE"):
        python = os.environ.get("JAXSED_REFERENCE_PYTHON", sys.executable)
        command = [python, "-m", "benchmarks.torch_worker", encoder]
        started = {"torch": Contender(command, environment), **started}
    return started


def row(encoder: str, mode: str, batch: int, results: dict) -> str:
    """A line of the table."""

    def each(names, field, form):
        return ", ".join(
            form.format(results[name][field]) if name in results else "-"
            for name in names
        )

    def rate(name):
        seconds = results[name]["seconds"] if name in results else float("nan")
        return f"{batch / seconds:.2f} clips/s" if name in results else "-"

    def ratio(name):
        if not {"torch", name} <= results.keys():
            return "-"
        return f"{results['torch']['seconds'] / results[name]['seconds']:.2f}x"

    cells = (
        encoder,
        f"{mode}, {batch}",
        *map(rate, ("torch", "float32", "bfloat16")),
        *map(ratio, ("float32", "bfloat16")),
        each(("float32", "bfloat16"), "first_seconds", "{:.0f} s"),
        each(("torch", "float32", "bfloat16"), "peak_mib", "{:.0f} MiB"),
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Runs the benchmark and prints the table as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoders", default=",".join(ENCODERS))
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--modes", default="forward,step")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="file that the table is added to")
    args = parser.parse_args()
    lines = [f"{platform.processor() or 'CPU'}, {os.cpu_count()} cores\n", HEADER]
    print("\n".join(lines), flush=True)
    for encoder in args.encoders.split(","):
        racing = contenders(encoder, args.dtypes.split(","))
        for mode in args.modes.split(","):
            for batch in map(int, args.batches.split(",")):
                cell = {"mode": mode, "batch": batch}
                lines.append(
                    row(encoder, **cell, results=race(racing, args.repeats, **cell))
                )
                print(lines[-1], flush=True)
        for contender in racing.values():
            contender.close()
    if args.out:
        with args.out.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))


if __name__ == "__main__":
    main()
