"""A learning rate that falls when evaluations stop getting better.

The factor on the schedule is a function of the evaluations that were recorded, and of
nothing else: a run that goes on reads it from its log, so that it does not matter
between which two of its duties it was killed.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxsed import metric_order
from jaxsed.errors import InputError, check_known
from jaxsed.training import processes
from jaxsed.training.logs import MetricsLog
from jaxsed.training.state import TrainState

MIN_GAIN = 1e-4  # relative; what is less is no gain (torch's `ReduceLROnPlateau`)


class RateScale(NamedTuple):
    """State of `scaled`.

    Attributes:
        rate_scale: float32 scalar, factor on the learning rate.
    """

    rate_scale: jax.Array


@dataclasses.dataclass(frozen=True)
class Plateau:
    """When the learning rate falls, and by how much.

    As `torch.optim.lr_scheduler.ReduceLROnPlateau`, with which SSAST was pre-trained
    (`src/traintest_mask.py`): in mode "max", and "min" where less of the metric is better
    (`jaxsed.metric_order`). An evaluation before the first step does not count: the
    original has none.

    Attributes:
        metric: as it is logged, such as `eval/pretext_accuracy`. Empty: the rate follows
            its schedule alone.
        factor: of the rate, each time.
        patience: that many evaluations in a row may bring no gain; the next one that
            brings none lowers the rate, and counting starts anew.

    Raises:
        InputError: a value is out of range.
    """

    metric: str = ""
    factor: float = 0.5
    patience: int = 2

    def __post_init__(self):
        if not (0 < self.factor < 1 and self.patience >= 0):
            raise InputError(
                f"plateau.factor={self.factor}, plateau.patience={self.patience}: "
                "expected a factor between 0 and 1 and a patience of 0 or more"
            )

    def check(self, logged: Iterable[str]) -> None:
        """Refuses a metric that no evaluation of the run will find.

        Args:
            logged: names of the metrics that will be logged.

        Raises:
            InputError: names the nearest of them.
        """
        if self.metric:
            check_known("plateau.metric", self.metric, logged)

    def scale(self, values: Sequence[float | None]) -> float:
        """Returns the factor on the rate after evaluations that found these values.

        Args:
            values: in order; None where the metric is not defined, which is no gain.
        """
        sign = metric_order.sign(self.metric)
        scale, best, without_gain = 1.0, -sign * np.inf, 0
        for value in values:
            enough = best * (1 + sign * MIN_GAIN)
            if value is not None and metric_order.is_better(self.metric, value, enough):
                best, without_gain = value, 0
                continue
            without_gain += 1
            if without_gain > self.patience:
                scale, without_gain = scale * self.factor, 0
        return scale

    def scaled(
        self, optimizer: optax.GradientTransformation
    ) -> optax.GradientTransformation:
        """Returns the optimiser with a factor on its rate that `adjusted` sets."""
        return optax.chain(optimizer, _by_state()) if self.metric else optimizer

    def adjusted(self, state: TrainState, log: MetricsLog) -> TrainState:
        """Returns the state with the rate that the evaluations in the log ask for."""
        if not self.metric:
            return state
        history = processes.on_first(lambda: log.history(self.metric))
        scale = np.float32(self.scale([value for step, value in history if step > 0]))
        placed = jax.device_put(scale, rate_scale(state.opt_state).sharding)
        opt_state = optax.tree_utils.tree_set(state.opt_state, rate_scale=placed)
        return state.replace(opt_state=opt_state)


STEADY = Plateau()


def rate_scale(opt_state: optax.OptState) -> jax.Array | float:
    """Returns the factor on the learning rate; 1 for an optimiser that has none."""
    return optax.tree_utils.tree_get(opt_state, "rate_scale", default=1.0)


def _by_state() -> optax.GradientTransformation:
    """Multiplies updates, that is the rate, by a number that the state holds."""

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda u: u * state.rate_scale, updates), state

    return optax.GradientTransformation(
        lambda params: RateScale(jnp.ones((), jnp.float32)), update
    )
