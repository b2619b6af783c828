"""How long the devices take for a step, for the comparison with the loader."""

import time
from collections.abc import Callable
from typing import Any

import jax


class StepTimer:
    """A train step that times its second call, and is otherwise left alone.

    The first call compiles. Around the second one the devices are waited for, which the
    loop otherwise never does: they would be idle while it prepares the next step.

    Args:
        train_step: `(state, batch, run_key) -> (state, measurements)`.

    Attributes:
        seconds: of the second call; None before.
    """

    def __init__(self, train_step: Callable):
        self.seconds: float | None = None
        self._train_step = train_step
        self._calls = 0

    def __call__(self, state: Any, batch: Any, run_key: jax.Array) -> tuple:
        """Takes the step."""
        self._calls += 1
        if self._calls != 2:
            return self._train_step(state, batch, run_key)
        jax.block_until_ready((state, batch))
        begin = time.perf_counter()
        found = jax.block_until_ready(self._train_step(state, batch, run_key))
        self.seconds = time.perf_counter() - begin
        return found
