"""SIGTERM: the notice of a scheduler that this machine is wanted back.

One process notes it in a handler. Several agree through JAX's preemption service, which
catches the signal in whichever process it arrives, on a step that all of them reach.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

# EX_TEMPFAIL of sysexits.h: no failure, "the user is invited to retry".
STATUS = 75

# The service counts calls, and a process may run several trainings.
_calls = itertools.count(1)
_AGAIN_SECONDS = 0.1


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


class Stopped(KeyboardInterrupt):
    """The signal came where nothing has to be saved, and ends the process as Ctrl-C does."""


def heed() -> None:
    """From now on SIGTERM raises `Stopped`, but while a `Notice` is open.

    So it ends tests, ensembles, and what is between the trainings of a grid. For one
    process: of several, JAX catches the signal.
    """
    signal.signal(signal.SIGTERM, _stop)
    report = sys.unraisablehook
    sys.unraisablehook = lambda dropped: _told_again(dropped) or report(dropped)


def _stop(number, frame) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # what cleans up is left in peace
    raise Stopped


def _told_again(dropped) -> bool:
    """Sends the signal anew if it came in a finaliser, where Python drops exceptions.

    Much is freed when a training returns, so that this is no rare thing.
    """
    if not isinstance(dropped.exc_value, Stopped):
        return False
    signal.signal(signal.SIGTERM, _stop)
    tell = (os.getpid(), signal.SIGTERM)
    again = threading.Timer(_AGAIN_SECONDS, os.kill, tell)
    again.daemon = True
    again.start()
    return True


class Notice:
    """Listens for SIGTERM while it is open (`with Notice() as notice`).

    A second signal changes nothing: what is being saved is finished. One that nobody
    asked for any more, as it came after the last step, is passed on at the end.
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
            if self._received and exception[0] is None and callable(self._before):
                self._before(signal.SIGTERM, None)

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
