"""What a training run is at one moment: step counter, parameters, optimiser state."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

Params = Any


@flax.struct.dataclass
class TrainState:
    """A pure value; the training step maps one to the next.

    Attributes:
        step: int32 scalar, number of optimiser steps taken.
        params: parameter tree, float32.
        opt_state: state of the optimiser, float32 moments.
    """

    step: jax.Array
    params: Params
    opt_state: optax.OptState


def create(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params)
    )
