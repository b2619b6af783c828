"""What a training starts from: its own checkpoint, another model's encoder, or chance."""

from collections.abc import Mapping
from typing import Any

import flax
import jax
import numpy as np

from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages.program import Program, init_params
from jaxsed.training.state import TrainState
from jaxsed.weights import files, named

Params = Any


def start_state(
    config: Mapping[str, Any], program: Program, data: PreparedData
) -> TrainState:
    """Returns the state before the first step, laid out on the mesh.

    Args:
        config: as `configs/common.py` describes it.
        program: what is trained.
        data: to train on, for `prior_bias`.

    Raises:
        InputError: see `start_params`.
    """
    params = start_params(
        program.model,
        program.abstract_state.params,
        config["seed"],
        config["init"],
        program.shardings.params,
    )
    if config["prior_bias"]:
        params = with_prior(params, data)
    return jax.jit(program.create, out_shardings=program.shardings)(params)


def start_params(
    model: sed.SoundEventModel,
    abstract: Params,
    seed: int,
    init: str,
    shardings: Params | None = None,
) -> Params:
    """Returns random parameters, with the encoder of `init` if given.

    Heads and sequence model are always fresh: step 3 strips what earlier steps put on
    top of the encoder (Effective Pre-Training, section II-A).

    Args:
        model: what is trained.
        abstract: shapes of its parameters.
        seed: of what is drawn, the same on every mesh.
        init: a model folder, the name of a released model, or nothing.
        shardings: tree like `abstract` for what is drawn; None for one device.

    Raises:
        InputError: `init` holds another encoder than the config asks for.
    """
    fresh = [name for name in abstract if not init or name != "encoder"]
    # Compiling an initialiser costs more than running it: only what is kept is drawn.
    params = jax.jit(
        lambda key: {name: init_params(model, key)[name] for name in fresh},
        out_shardings=shardings and {name: shardings[name] for name in fresh},
    )(jax.random.key(seed))
    if not init:
        return params
    loaded, description = files.load_model(named.model_folder(init))
    expected = flax.traverse_util.flatten_dict(abstract["encoder"], sep="/")
    given = flax.traverse_util.flatten_dict(loaded["encoder"], sep="/")
    shapes = {name: array.shape for name, array in given.items()}
    if shapes != {name: array.shape for name, array in expected.items()}:
        raise InputError(
            f"init={init} holds the encoder {description['encoder']}, whose parameters "
            "do not fit this config's model.encoder: name the same encoder"
        )
    return {**params, "encoder": loaded["encoder"]}


def with_prior(params: Params, data: PreparedData) -> Params:
    """Returns parameters whose heads begin at the log-odds of each class.

    A head that starts at probability 0.5 spends its first hundreds of steps on
    learning that every class is rare; a long training does not notice, a short one is
    over by then (Lin et al. 2017, "Focal Loss", section 4.1, initialisation).
    """
    activity = data.activity()
    priors = {
        "strong_head": activity.class_seconds() / np.sum(data.durations),
        "weak_head": activity.class_clips() / len(data),
    }
    heads = {}
    for name, prior in priors.items():
        prior = np.clip(prior, 1e-4, 0.5)
        bias = np.log(prior / (1 - prior)).astype(np.float32)
        heads[name] = {**params[name], "bias": bias}
    return {**params, **heads}
