"""How fast a loader is, and whether that is enough: one line for whoever trains."""

import collections
import os
import threading

_BATCHES_REMEMBERED = 64


class LoaderSpeed:
    """Clips a second, from what it took to compute the latest batches.

    Safe to use from several threads.

    Args:
        workers: processes that compute batches; 0 for threads of this one.
        threads: that compute batches, in each process.
        cores: of this machine, that this process may use; by default, counted.

    Attributes:
        parallel: how many batches are computed at a time, cores permitting.
        waited_seconds: how long batches were waited for, all together.
    """

    def __init__(self, workers: int, threads: int, cores: int | None = None):
        self.workers, self.threads = workers, threads
        self.cores = cores or available_cores()
        self.parallel = min(workers or max(1, threads), self.cores)
        self.waited_seconds = 0.0
        self._latest = collections.deque(maxlen=_BATCHES_REMEMBERED)
        self._lock = threading.Lock()

    def add(
        self, clips: int, core_seconds: float | None, waited_seconds: float
    ) -> None:
        """Counts a batch.

        Args:
            clips: in it.
            core_seconds: that it took a core, without waiting for the disk; None if
                that is not to be counted.
            waited_seconds: that the consumer waited for it.
        """
        with self._lock:
            if core_seconds is not None:
                self._latest.append((clips, core_seconds))
            self.waited_seconds += waited_seconds

    @property
    def clips_per_core_second(self) -> float | None:
        """Clips a second of one core, from file to batch; None before it is known."""
        with self._lock:
            latest = list(self._latest)
        if not latest:
            return None
        clips, core_seconds = map(sum, zip(*latest))
        return clips / max(core_seconds, 1e-9)

    @property
    def clips_per_second(self) -> float | None:
        """What all workers give together at best; None before it is known."""
        per_core = self.clips_per_core_second
        return None if per_core is None else per_core * self.parallel

    def report(self, step_clips_per_second: float) -> str:
        """Says in a line what the loader gives and what the step takes.

        Args:
            step_clips_per_second: how many of this process's clips the training step
                takes if it never waits for one.
        """
        given = self.clips_per_second
        if given is None:
            return "loader: not measured yet"
        line = (
            f"loader: {self.clips_per_core_second:,.0f} clips/s a core x {self._crew()} "
            f"= {given:,.0f} clips/s; the step takes {step_clips_per_second:,.0f} clips/s"
        )
        if given >= step_clips_per_second:
            return line
        return f"{line}: the loader is the bottleneck, {self._remedy()}"

    def _crew(self) -> str:
        if self.workers:
            crew = _count(self.workers, "worker")
        else:
            crew = _count(max(1, self.threads), "thread")
        if self.parallel == self.cores < max(self.workers, self.threads):
            return f"{_count(self.cores, 'core')} ({crew})"
        return crew

    def _remedy(self) -> str:
        if self.parallel < self.cores:
            return f"raise data.workers (this machine has {self.cores} cores)"
        return (
            "and no core is idle: store 16 kHz flac, which is the fastest to decode, "
            "keep decoded clips (data.cache_decoded_bytes) or take more cores"
        )


def available_cores() -> int:
    """Returns how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
