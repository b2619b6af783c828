"""Several processes of one run: joining them, and what one does for all.

What processes tell each other here goes through the coordination service that every
`jax.distributed` run has, not through the devices: it works before devices are touched
and waits as long as process 0 needs.
"""

import atexit
import contextlib
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import jax

from jaxsed.errors import InputError

T = TypeVar("T")

POLL_SECONDS = 1.0
_LONGEST_WAIT_MS = 7 * 24 * 3600 * 1000
_STOPPED = "jaxsed/stopped"

_messages = itertools.count()
_alone = False  # inside `on_first`, where the other processes do not follow
_ending = threading.Event()


def join(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the other processes of the run; before anything touches a device.

    Without arguments JAX asks the cluster: Cloud TPU, GKE, SLURM, Open MPI.

    Args:
        coordinator: `HOST:PORT` of process 0; any free port.
        num_processes: how many there are.
        process_id: which one this is, from 0.

    Raises:
        InputError: only some of the arguments are given, or there is no such cluster.
    """
    given = {
        "--coordinator": coordinator,
        "--num_processes": num_processes,
        "--process_id": process_id,
    }
    missing = [name for name, value in given.items() if value is None]
    if 0 < len(missing) < len(given):
        raise InputError(
            f"{', '.join(given)} belong together: {' and '.join(missing)} missing"
        )
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot join the other processes ({_first_line(error)}): check that "
            "process 0 runs and can be reached, or give --coordinator=HOST:PORT "
            "--num_processes=N --process_id=I"
        ) from error
    watch = threading.Thread(target=_watch, daemon=True)
    watch.start()
    atexit.register(_stop_watching, watch)


def is_first() -> bool:
    """Whether this is the process that writes files and talks to the user."""
    return jax.process_index() == 0


def on_first(function: Callable[[], T]) -> T:
    """Calls a function on process 0 alone; all wait, and return what it returned.

    Within the function the process is on its own: nested calls go straight through.

    Args:
        function: what it returns must be JSON.

    Raises:
        InputError: on all processes, where the function raised it, or an `OSError`.
    """
    global _alone
    if _alone or jax.process_count() == 1:
        return function()
    outcome: dict[str, Any] = {}
    if is_first():
        _alone = True
        try:
            outcome = {"value": function()}
        except (InputError, OSError) as error:
            outcome = {"error": one_line(error)}
        finally:
            _alone = False
    outcome = from_first(outcome)
    if "error" in outcome:
        raise InputError(outcome["error"])
    return outcome["value"]


def from_first(value: T) -> T:
    """Returns on all processes what process 0 gave; JSON. The others wait for it."""
    if _alone or jax.process_count() == 1:
        return value
    key = f"jaxsed/message/{next(_messages)}"
    if is_first():
        _client().key_value_set(key, json.dumps(value))
        return value
    return json.loads(_client().blocking_key_value_get(key, _LONGEST_WAIT_MS))


def abandon(message: str, status: int) -> NoReturn:
    """Ends this process at once, and the others of the run with the same message.

    They cannot go on without it: in the next collective they would wait until the
    coordination service misses its heartbeat, and then die with a report of that.
    """
    _ending.set()
    _tell_stopped(f"process {_service().process_id}: {message}")
    _exit(status)


def explained(error: Exception) -> str | None:
    """Returns what to tell the user; None of an error that is the program's own."""
    line = one_line(error)
    if isinstance(error, (InputError, OSError)):
        return line
    if "RESOURCE_EXHAUSTED" in line:
        return (
            "the devices have too little memory: set accumulate=2 or more, remat=dots or "
            f"remat=blocks, or a larger mesh.fsdp ({line})"
        )
    return None


def one_line(error: Exception) -> str:
    """Returns what to tell the user of an error: an `OSError` names its file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _service() -> Any:
    # No public name as of jax 0.10; orbax takes it from here as well.
    from jax._src import distributed

    return distributed.global_state


def _client() -> Any:
    return _service().client


def _tell_stopped(message: str) -> None:
    # Another process may have been first, or the service may be gone.
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        _client().key_value_set(_STOPPED, message)


def _watch() -> None:
    """Ends this process when another one has said that it stopped."""
    while not _ending.wait(POLL_SECONDS):
        try:
            message = _client().key_value_try_get(_STOPPED)
        except jax.errors.JaxRuntimeError:
            continue  # nobody has
        if not _ending.is_set():
            print(f"jaxsed: stopped with {message}", file=sys.stderr)
            _exit(1)


def _stop_watching(watch: threading.Thread) -> None:
    _ending.set()
    watch.join()


def _exit(status: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    if _service().process_id == 0:  # the service goes with it: the others first
        time.sleep(3 * POLL_SECONDS)
    # Not sys.exit: at exit JAX waits for the other processes.
    os._exit(status)
