"""SIGTERM: the notice of a scheduler that this machine is wanted back.

One process notes it in a handler. Several agree through JAX's preemption service, which
catches the signal in whichever process it arrives, on a step that all of them reach.
"""

import contextlib
import itertools
import signal
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

# EX_TEMPFAIL of sysexits.h: no failure, "the user is invited to retry".
STATUS = 75

# The service counts calls, and a process may run several trainings.
_calls = itertools.count(1)


class Preempted(Exception):
    """A run was told to stop; all its steps are in the newest checkpoint.

    Args:
        step: of that checkpoint.
        total: steps of the whole run.
    """

    def __init__(self, step: int, total: int):
        super().__init__(
            f"stopped by SIGTERM after step {step} of {total}, which is saved: the same "
            "command goes on from there"
        )


class Interrupted(Exception):
    """The signal came inside `Notice.interrupting`."""


class Notice:
    """Listens for SIGTERM while it is open (`with Notice() as notice`).

    A second signal changes nothing: what is being saved is finished.
    """

    def __init__(self):
        self._received = False
        self._interruptible = False
        self._before = None

    def __enter__(self) -> "Notice":
        in_main_thread = threading.current_thread() is threading.main_thread()
        if jax.process_count() == 1 and in_main_thread:
            self._before = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *exception) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)

    def must_stop(self) -> bool:
        """Whether to save and stop now; all processes ask once after each step."""
        if jax.process_count() == 1:
            return self._received
        return multihost_utils.reached_preemption_sync_point(next(_calls))

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """Within it, a signal ends the block at once, if this is the only process.

        For what takes long and is done again from its start, such as an evaluation.

        Raises:
            Interrupted: the signal came.
        """
        self._interruptible = True
        try:
            if self._received:
                raise Interrupted
            yield
        finally:
            self._interruptible = False

    def _receive(self, number, frame) -> None:
        self._received = True
        if self._interruptible:
            self._interruptible = False  # once: what cleans up is left in peace
            raise Interrupted
