"""A loss or gradient that is not finite: found, and explained to whoever reads the log."""

from collections.abc import Mapping, Sequence

import numpy as np
from jax.experimental import multihost_utils

from jaxsed.errors import InputError
from jaxsed.training.logs import MetricsLog

NAMED_CLIPS = 6  # that a message lists; the others are in a file
# Measurements of a step that have to be finite. A loss may be where its gradient is not,
# and then the parameters are spoilt, with no later step to tell after the last one.
FINITE = {"loss": "loss", "grad_norm": "gradient"}


class Diverged(InputError):
    """A run's loss or gradient is not finite; the same settings will end there again."""


class NotFinite(Exception):
    """A loss or gradient that is infinite or no number.

    Args:
        step: whose it is.
        name: which of the two.
        value: what the loss, or the norm of the gradient, is.
        rows: int [b], of this process's part of the batch, in the training data.
    """

    def __init__(self, step: int, name: str, value: float, rows: np.ndarray):
        super().__init__(step, name, value)
        self.step, self.name, self.value, self.rows = step, name, value, rows


def check(step: int, measurements: Mapping[str, np.ndarray], rows: np.ndarray) -> None:
    """Looks at what was measured in a step.

    Args:
        step: counted from 1.
        measurements: scalars, with those of `FINITE`.
        rows: see `NotFinite`.

    Raises:
        NotFinite: one of `FINITE` is not.
    """
    for name, said in FINITE.items():
        if not np.isfinite(measurements[name]):
            raise NotFinite(step, said, float(measurements[name]), rows)


def explained(
    error: NotFinite, log: MetricsLog, clip_ids: Sequence[str], saved: int | None
) -> Diverged:
    """Returns the error for the user, and writes all clips of the step into a report.

    All processes call it together.

    Args:
        error: what was found.
        log: of the run; the report lies beside it.
        clip_ids: of the rows of the training data.
        saved: step of the newest checkpoint, None if there is none.
    """
    rows = multihost_utils.process_allgather(error.rows, tiled=True)
    clips = [str(clip_ids[row]) for row in rows]
    report = {"step": error.step, error.name: str(error.value), "clips": clips}
    path = log.write_report("not_finite", report)
    kept = "there is no checkpoint yet" if saved is None else f"step {saved} is kept"
    shown = ", ".join(clips[:NAMED_CLIPS])
    more = len(clips) - NAMED_CLIPS
    return Diverged(
        f"the {error.name} of step {error.step} is {error.value} ({kept}): lower "
        f"optim.max_lr, set optim.clip_norm, or look at its clips {shown}"
        + (f" and {more} more, all in {path}" if more > 0 else "")
    )
