"""The recipes say what the papers say, and what they are asked for."""

import importlib
from pathlib import Path

import jax
import numpy as np

from jaxsed import optim

RATES = Path(__file__).parent.parent / "golden" / "recipe.npz"


def recipe(name, text=""):
    return importlib.import_module(f"configs.{name}").get_config(text)


def rates(config, epoch_steps, epochs):
    """The learning rate at the last step of each epoch, when every warm-up is over."""
    params = {"kernel": jax.ShapeDtypeStruct((2, 2), np.float32)}
    _, schedule = optim.build_optimizer(config.optim.to_dict(), params, config.steps)
    schedule = jax.jit(jax.vmap(schedule))
    return schedule((1 + np.arange(epochs)) * epoch_steps - 1)
