"""Compiles a training step for a TPU slice, without one: memory, time, MFU, cost.

    jaxsed plan --config=configs/student.py:model=beats --topology=v5e:4x4
    jaxsed plan --config=configs/teacher.py --topology=cpu:8 --config.batch_size=16

Topologies: v4:2x2x4, v5e:4x4, v5p:2x2x4, v6e:4x4 and other shapes of these chips, which
need the package libtpu but no TPU; cpu:N compiles for N devices of this machine's kind
and tells no time. Data are not needed. --config and --config.key=value are those of
jaxsed.main. A full-size step takes some minutes to compile; the same plan again is read
from the cache ($JAXSED_CACHE). A training in phases is planned phase by phase.

Exit status: 0 it fits; 1 refused; 3 it does not fit the devices' memory.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError

DOES_NOT_FIT = 3
SECONDS_BETWEEN_SIGNS = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `jaxsed plan`."""
    parser.add_argument(
        "--config", required=True, metavar="FILE[:ARGUMENTS]", help="the training"
    )
    parser.add_argument(
        "--topology", required=True, metavar="NAME", help="such as v5e:4x4, or cpu:8"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures there, too"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="compile even what the cache holds"
    )
    # --config.key=value is left over by argparse; see `jaxsed.cli.main`.
    parser.set_defaults(others=[])


def run(args: argparse.Namespace) -> int:
    """Runs `jaxsed plan`; returns its exit status.

    Raises:
        InputError: an unknown topology or argument, or a compiler that is missing.
    """
    from jaxsed.plan import chips, report

    unknown = [text for text in args.others if not text.startswith("--config.")]
    if unknown:
        raise InputError(
            f"unknown argument {unknown[0]}: settings are given as --config.key=value"
        )
    topology = chips.topology(args.topology)
    chips.check_compiler(topology)
    plans = _planned(args, topology)
    if plans is None:
        return 1
    alone = plans.get("")
    print(report.text_of_phases(plans) if alone is None else report.text(alone))
    if args.json:
        found = {"phases": plans} if alone is None else alone
        write_atomically(args.json, json.dumps(found, indent=2) + "\n", parents=True)
    fit = [plan["memory"]["fits"] for plan in plans.values()]
    return DOES_NOT_FIT if False in fit else 0


def _planned(args: argparse.Namespace, topology) -> dict | None:
    """Plans in a process of its own, as JAX takes its devices when it starts.

    Returns a plan for each training, see `step.trainings`; None if that process has
    said why it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder) / "plan.json", Path(folder) / "said"
        command = [
            *(sys.executable, "-m", "jaxsed.plan.worker"),
            *(f"--config={args.config}", *args.others, "--workdir=."),
            *(f"--topology={args.topology}", f"--out={out}", f"--fresh={args.fresh}"),
        ]
        with said.open("w", encoding="utf-8") as log:
            environment = {**os.environ, **topology.environment()}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            _wait(process, f"compiling for {args.topology}")
        if process.returncode == 0:
            return json.loads(out.read_text(encoding="utf-8"))
        # Compilers talk; if the process has a line of its own for the user, that is it.
        words = said.read_text(encoding="utf-8", errors="replace").splitlines()
        lines = [line for line in words if line.startswith("jaxsed")]
        print("\n".join(lines or words), file=sys.stderr)
        return None


def _wait(process: subprocess.Popen, title: str) -> None:
    """Waits for a process, with a sign of life; takes it along when stopped."""
    from tqdm import tqdm

    clock = tqdm(desc=title, bar_format="{desc}: {elapsed}", disable=None, leave=False)
    try:
        while process.poll() is None:
            clock.refresh()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS_BETWEEN_SIGNS)
    finally:
        clock.close()
        process.kill()  # nothing where it has ended
