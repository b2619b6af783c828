"""Starts several processes of one run on this machine, with CPU devices of their own."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent


def start(program: Sequence[str], log: Path, n_processes=2, devices=4):
    """Returns the processes; process i writes to `LOG.i`.

    Args:
        program: arguments of Python; each process gets the three that say who it is.
        log: of their output.
        n_processes: how many.
        devices: of each.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    started = []
    for index in range(n_processes):
        place = (
            f"--coordinator=localhost:{port}",
            f"--num_processes={n_processes}",
            f"--process_id={index}",
        )
        with log.with_name(f"{log.name}.{index}").open("w") as output:
            started.append(
                subprocess.Popen(
                    [sys.executable, *program, *place],
                    env=environment,
                    cwd=REPOSITORY,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            )
    return started


def finish(started, seconds=500) -> list[int]:
    """Waits for all; returns their exit statuses. None of them outlives this."""
    try:
        return [process.wait(seconds) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
