"""Which part of the work is whose, where several hosts run the same command."""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from jaxsed.errors import InputError


class Host(NamedTuple):
    """One of several hosts that share a file system.

    Attributes:
      index: Which, from 0.
      count: How many there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def owns(self, unit: int) -> bool:
        """Whether this host does a unit of work; every unit is of exactly one host."""
        return unit % self.count == self.index


ALONE = Host(0, 1)


def parse_host(text: str) -> Host:
    """Reads `I/N`.

    Raises:
      InputError: Not of this form, or I is not below N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    host = Host(int(match[1]), int(match[2])) if match else None
    if host is None or host.index >= host.count:
        raise InputError(
            f"host {text!r}; expected I/N, I from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4"
        )
    return host


def host_of(environment: Mapping[str, str] = os.environ) -> Host:
    """Returns which task of a SLURM job step this process is; `ALONE` outside.

    `SLURM_STEP_NUM_TASKS` is set by `srun` alone. `SLURM_NTASKS` is in batch scripts
    too, where one process stands for all tasks.
    """
    count = environment.get("SLURM_STEP_NUM_TASKS", "")
    index = environment.get("SLURM_PROCID", "")
    if not (count.isdigit() and index.isdigit() and int(index) < int(count)):
        return ALONE
    return Host(int(index), int(count))
