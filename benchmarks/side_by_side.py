"""Contenders that take turns: programs in processes of their own, timed one call each.

A machine's speed drifts by more than two programs differ; only calls that alternate can
be compared. Each contender is a process, so that its memory is its own and its
libraries need not live in one environment with the others'.
"""

import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# glibc, keep what is freed: a process that waits for its turn loses its free pages to
# the system, and getting gigabytes of them back can take longer than what is timed.
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}

# The first runs get their memory from the system, slowly on a virtual machine.
WARM_UPS = 2

# What a worker prints on its own account must not be taken for an answer.
MARK = "\x02"


def serve(prepare: Callable[..., Callable[[], object]]) -> None:
    """Answers requests on stdin until it closes; call it in a contender's process.

    Args:
        prepare: keyword arguments of a cell -> what is to be timed, ready to run. What
            it has as `facts`, a dict of numbers, is part of the answers.
    """
    call = None
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        if "prepare" in request:
            call = None  # frees what the last cell held
            ctypes.CDLL(None).malloc_trim(0)
            _reset_peak()
            call = prepare(**request["prepare"])
            call()
            seconds = time.perf_counter() - start
            for _ in range(WARM_UPS):
                call()
        else:
            call()
            seconds = time.perf_counter() - start
        facts = getattr(call, "facts", {})
        answer = {"seconds": seconds, "peak_mib": peak_mib(), **facts}
        print(MARK + json.dumps(answer), flush=True)


class Contender:
    """A process that prepares cells and runs them on demand.

    Args:
        command: how to start it; it calls `serve`.
        environment: of the process.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment, **KEEP_MEMORY},
        )

    def prepare(self, **cell: Any) -> dict[str, float]:
        """Builds a cell and runs it once; `seconds` includes compilation."""
        return self._ask({"prepare": cell})

    def run(self) -> dict[str, float]:
        """Runs the prepared cell once."""
        return self._ask({"run": True})

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any]) -> dict[str, float]:
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith(MARK):
                return json.loads(line.removeprefix(MARK))
            sys.stderr.write(line)
        raise RuntimeError(f"contender ended with status {self._process.wait()}")


def race(
    contenders: Mapping[str, Contender], repeats: int, **cell: Any
) -> dict[str, dict[str, float]]:
    """Runs one cell in all contenders in turn.

    Args:
        contenders: by name.
        repeats: timed runs of each.
        **cell: handed to `serve`'s `prepare`.

    Returns:
        For each contender `seconds` (median), `first_seconds` (with compilation),
        `peak_mib` (of the whole process) and the facts of its call.
    """
    first = {name: c.prepare(**cell)["seconds"] for name, c in contenders.items()}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            runs[name].append(contender.run())
    return {
        name: {
            **of_one[-1],
            "seconds": statistics.median(run["seconds"] for run in of_one),
            "first_seconds": first[name],
        }
        for name, of_one in runs.items()
    }


def peak_mib() -> float:
    """Largest resident memory of this process since the last reset (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
