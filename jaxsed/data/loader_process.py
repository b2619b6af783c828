"""Processes that compute batches for a training: how they begin, live and end.

grain starts and stops them. What is here makes them leave with a training that is killed
and stay with one that is asked to stop, and turns their death into a line of advice.
"""

import atexit
import functools
import gc
import re
import signal

import numpy as np
from grain.multiprocessing import SharedMemoryArray

from jaxsed.data.child_process import leave_with_parent
from jaxsed.errors import InputError

_has_begun = False
_SMALL_BYTES = 4096
_SAVE_MEMORY = "lower data.workers, batch_size or data.cache_decoded_bytes"
_LIKELY_REASONS = {
    signal.SIGKILL: f"most likely memory ran out; {_SAVE_MEMORY}",
    # Batches come through shared memory, and containers have 64 MB of it by default.
    signal.SIGBUS: "most likely shared memory ran out; make /dev/shm larger (docker run "
    "--shm-size) or lower data.workers or batch_size",
}


def begin(index: int, count: int) -> None:
    """Makes this process end when, and only when, the one it works for says so.

    Args:
        index: of this loader process; grain gives it.
        count: of loader processes.
    """
    del index, count
    global _has_begun
    _has_begun = True
    # Ctrl-C and a scheduler's SIGTERM reach every process; the parent may still need
    # batches to end in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_with_parent()


def has_begun() -> bool:
    """Returns whether this process is a loader process."""
    return _has_begun


def in_one_line(error: Exception) -> InputError | None:
    """Returns what to tell the user of an error of computing ahead; None of a bug."""
    if isinstance(error, InputError):
        # grain appends lines on tracebacks to the message meant for the user.
        return InputError(str(error).partition("\n")[0])
    if isinstance(error, MemoryError):
        return InputError(f"memory ran out while loading clips; {_SAVE_MEMORY}")
    died = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))
    if died is None:
        return None
    code = int(died[1])
    how = f"ended with status {code}"
    if code < 0:
        how = f"was killed by {signal.Signals(-code).name}"
    why = _LIKELY_REASONS.get(-code, "its own words are above, if it left any")
    return InputError(f"a loader process (data.workers) {how}: {why}")


def adopted(array: np.ndarray) -> np.ndarray:
    """Returns an array of a batch, its shared memory gone with the last who uses it.

    By itself grain's array gives the memory back in the program's good end only. Each
    also has an open file: who keeps the rows of many batches shall not run out of them,
    so small arrays are copied.
    """
    if getattr(array, "_unlink_on_del", False):
        array.shm.unlink()  # the name; what is open stays
        array._unlink_on_del = False
    return np.array(array) if array.nbytes < _SMALL_BYTES else array


def _settle() -> None:
    """Waits until grain has given back the memory of batches that nobody holds.

    It does so in a thread, which the end of the program would cut short; Python's
    tracker of shared memory then gives it back, with a warning for every user to read.
    """
    gc.collect()  # batches hang in cycles of exceptions and of grain's statistics
    thread_pool = getattr(SharedMemoryArray, "_del_thread_pool", None)
    if thread_pool is not None:
        # It has one thread: with this done, all that was asked before is.
        thread_pool.apply_async(int).wait(timeout=5)


@functools.cache
def settle_at_exit() -> None:
    """Has the program, when it ends, give the memory of batches back first."""
    atexit.register(_settle)
