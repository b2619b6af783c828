"""Learning rate schedules: a warm-up, then a curve, or a table of factors by epoch."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]
Table = Sequence[tuple[int, float]]  # (first step, factor of the rate from there on)
SCHEDULES = ("cosine", "linear", "constant", "table")


def make_schedule(
    kind: str,
    max_lr: float,
    total_steps: int,
    warmup_steps: int,
    min_lr_factor: float = 0.0,
    *,
    warmup_every: int = 1,
    table: Table = (),
) -> Schedule:
    """Returns the learning rate of optimiser step i = 0, 1, ...; jit-able.

    Linear from 0 over the warm-up (step 0 changes nothing, as in the released code),
    then to `min_lr_factor * max_lr` at `total_steps` along half a cosine (paper) or a
    line, and constant from there on; or whatever a table says. Formulas of the
    `transformers` schedules that PretrainedSED uses; a run shorter than its warm-up just
    stops on the way up.

    Args:
        kind: `cosine`, `linear`, `constant` or `table`.
        max_lr: learning rate after the warm-up.
        total_steps: steps of the run.
        warmup_steps: steps of the warm-up, which hides what the curve says of them.
        min_lr_factor: part of `max_lr` that is left at the end; not of a table.
        warmup_every: the rate stays for so many steps while it rises (AST
            `traintest.py`: 50).
        table: for `table`, from `by_epoch`.

    Raises:
        InputError: a table that does not begin at step 0 or does not ascend, or a factor
            that is negative or no number.
    """
    decay_steps = max(total_steps - warmup_steps, 1)
    firsts, factors = _columns(table) if kind == "table" else (None, None)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        # Differences of integers: float32 rounds only the quotients below.
        step = jnp.asarray(step, jnp.int32)
        rising = step // warmup_every * warmup_every / max(warmup_steps, 1)
        left = jnp.clip((total_steps - step) / decay_steps, 0.0, 1.0)
        if kind == "cosine":
            # 0.5 (1 + cos(pi (1 - left))), without cancellation near the end.
            left = jnp.square(jnp.sin(0.5 * jnp.pi * left))
        elif kind == "constant":
            left = jnp.ones_like(left)
        falling = min_lr_factor + (1.0 - min_lr_factor) * left
        if kind == "table":
            place = jnp.searchsorted(firsts, step, side="right") - 1
            falling = jnp.asarray(factors)[place]
        return max_lr * jnp.where(step < warmup_steps, rising, falling)

    return schedule


def by_epoch(factors: Sequence[float], epoch_steps: int) -> Table:
    """Returns the table in which epoch e runs at `factors[e]`; the last one stays.

    Args:
        factors: of the learning rate, one an epoch.
        epoch_steps: optimiser steps an epoch.
    """
    changes = [e for e in range(len(factors)) if e == 0 or factors[e] != factors[e - 1]]
    return tuple((e * epoch_steps, float(factors[e])) for e in changes)


def stairs(epochs: int, start: int, every: int, factor: float) -> list[float]:
    """Returns factors that fall by `factor` at epoch `start` and every so many after.

    PyTorch's `MultiStepLR` as AST's `traintest.py` uses it; epochs count from 0, so the
    first `start` epochs run at the full rate.
    """
    return [factor ** (max(0, e - start + every) // every) for e in range(epochs)]


# Laine and Aila 2017, "Temporal ensembling", appendix A.
_RAMP_UP_STEEPNESS = 5.0


def ramps(
    epochs: int, up_epochs: int, down_start: int, down_epochs: int, last: float
) -> list[float]:
    """Returns factors that rise, stay at 1, fall along a line and stay at `last`.

    `exp_warmup_linear_down` of PaSST and EfficientAT (`helpers/ramp.py` and
    `helpers/utils.py`): the rise is exp(-5 (1 - e / up)^2), its first epoch counted as
    half a one.

    Args:
        epochs: how many factors.
        up_epochs: of the rise.
        down_start: last epoch at 1, counted from 0.
        down_epochs: of the fall.
        last: what is left after it.
    """
    factors = []
    for epoch in range(epochs):
        rise = 1.0
        if epoch < up_epochs:
            missing = 1.0 - max(epoch, 0.5) / up_epochs
            rise = math.exp(-_RAMP_UP_STEEPNESS * missing**2)
        left = min(max(1.0 - (epoch - down_start) / down_epochs, 0.0), 1.0)
        factors.append(rise * (last + (1.0 - last) * left))
    return factors


def _columns(table: Table) -> tuple[np.ndarray, np.ndarray]:
    try:
        firsts = np.array([int(first) for first, _ in table], np.int32)
        factors = np.array([float(factor) for _, factor in table], np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"optim.table={table!r}: expected pairs of a step and a factor, such as "
            "((0, 1.0), (5000, 0.5))"
        ) from error
    if not len(firsts) or firsts[0] != 0 or (np.diff(firsts) <= 0).any():
        raise InputError(
            f"optim.table has the steps {firsts.tolist()}: expected 0 and then "
            "ascending ones"
        )
    if not np.isfinite(factors).all() or (factors < 0).any():
        raise InputError(
            f"optim.table has the factors {factors.tolist()}: expected numbers from 0 on"
        )
    return firsts, factors
