"""What a training starts from: another model, as far as it is carried over, and chance."""

from collections.abc import Collection, Mapping
from typing import Any

import flax
import jax
import numpy as np

from jaxsed.data.joined import JoinedData, annotation_of, parts_of
from jaxsed.data.layouts.source import FRAMES
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError, check_known
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models import sed
from jaxsed.models.heads import HEADS
from jaxsed.stages.program import Program, init_params
from jaxsed.training.state import TrainState
from jaxsed.weights import architecture, files, named, resolution

Params = Any

# What a training takes of `init`. Step 3 strips what earlier steps put on top of the
# encoder (Effective Pre-Training, section II-A); a phase from coarse to fine goes on with
# all of the phase before (From Coarse to Fine, section 2.2).
CARRIES = ("encoder", "all")


def start_state(
    config: Mapping[str, Any],
    program: Program,
    data: PreparedData | JoinedData,
    params: Params | None = None,
) -> TrainState:
    """Returns the state before the first step, laid out on the mesh.

    Args:
        config: as `configs/common.py` describes it.
        program: what is trained.
        data: to train on, for `prior_bias`.
        params: of `start_params`, where they are known already.

    Raises:
        InputError: see `start_params`.
    """
    if params is None:
        params = start_params(
            program.model,
            program.abstract_state.params,
            config["seed"],
            config["init"],
            program.shardings.params,
            carry=config["carry"],
            vocabulary=data.vocabulary,
        )
    has_fresh_heads = not config["init"] or config["carry"] == "encoder"
    head = HEADS.get(config["model"]["head"])
    if config["prior_bias"] and has_fresh_heads and head:
        params = with_prior(params, head.of_classes, data)
    return jax.jit(program.create, out_shardings=program.shardings)(params)


def start_params(
    model: sed.SoundEventModel,
    abstract: Params,
    seed: int,
    init: str,
    shardings: Params | None = None,
    carry: str = "encoder",
    vocabulary: Vocabulary | None = None,
) -> Params:
    """Returns random parameters, with those of `init` that are carried over.

    Where `init` has another compression, its parameters are adapted
    (`weights.resolution`); blocks that the model leaves out (`drop_layers`) are left out.

    Args:
        model: what is trained.
        abstract: shapes of its parameters.
        seed: of what is drawn, the same on every mesh.
        init: a model folder, the name of a released model, or nothing.
        shardings: tree like `abstract` for what is drawn; None for one device.
        carry: one of `CARRIES`: the encoder under fresh heads, or the whole model.
        vocabulary: classes of the heads, which have to be those of heads carried over;
            None to take them as they are.

    Raises:
        InputError: `init` holds another encoder than the config asks for, or, where all
            is carried over, another sequence model, other heads or other classes.
    """
    check_known("carry", carry, CARRIES)
    carried = () if not init else tuple(abstract) if carry == "all" else ("encoder",)
    fresh = [name for name in abstract if name not in carried]
    params = _drawn(model, seed, fresh, shardings) if fresh else {}
    if not init:
        return params
    loaded, description = files.load_model(named.model_folder(init))
    if carry == "all" and vocabulary is not None:
        _check_classes(description, vocabulary, init)
    given = _adapted(loaded, description, model, init)
    for name in carried:
        if _shapes(given.get(name, {})) != _shapes(abstract[name]):
            raise InputError(_unfit(name, description, init))
    return {**params, **{name: given[name] for name in carried}}


def _drawn(model, seed, names, shardings):
    # Compiling an initialiser costs more than running it: only what is kept is drawn.
    return jax.jit(
        lambda key: {name: init_params(model, key)[name] for name in names},
        out_shardings=shardings and {name: shardings[name] for name in names},
    )(jax.random.key(seed))


def _adapted(loaded, description, model, init):
    """Parameters of `init` at the compression and depth of the model that is trained."""
    try:
        given = architecture.build(description)
        return resolution.adapt(_without_top(loaded, given, model), given, model)
    except InputError as error:
        raise InputError(
            f"init={init} holds the encoder {description['encoder']}: {error}"
        ) from error


def _without_top(loaded, given, model):
    """Without the blocks that the model that is trained does without."""
    if not getattr(getattr(model.encoder, "config", None), "dropped", 0):
        return loaded
    beyond = {*given.encoder.layer_names} - {*model.encoder.layer_names}
    encoder = {k: v for k, v in loaded["encoder"].items() if k not in beyond}
    return {**loaded, "encoder": encoder}


def _check_classes(description, vocabulary, init):
    given = Vocabulary.from_json(description["vocabulary"])
    if given.hash != vocabulary.hash:
        raise InputError(
            f"init={init} has heads for the {len(given)} classes of {given.name}, the "
            f"data are labelled with {len(vocabulary)} of {vocabulary.name}: take its "
            "encoder alone, with carry=encoder"
        )


def _unfit(name, description, init):
    if name == "encoder":
        return (
            f"init={init} holds the encoder {description['encoder']}, whose parameters "
            "do not fit this config's model.encoder: name the same encoder"
        )
    return (
        f"init={init} has another {name} than this config's model: make model.sequence "
        "and model.head those of init, or take its encoder alone with carry=encoder"
    )


def _shapes(tree):
    # Some parameters stand alone, at the top.
    flat = flax.traverse_util.flatten_dict({"": tree}, sep="/")
    return {name: leaf.shape for name, leaf in flat.items()}


def with_prior(
    params: Params, layers: Collection[str], data: PreparedData | JoinedData
) -> Params:
    """Returns parameters with layers that begin at the log-odds of each class.

    A head that starts at probability 0.5 spends its first hundreds of steps on
    learning that every class is rare; a long training does not notice, a short one is
    over by then (Lin et al. 2017, "Focal Loss", section 4.1, initialisation).

    Args:
        params: of the model.
        layers: of the heads, those whose outputs are logits of classes.
        data: what is trained on.
    """
    # Labels of whole clips would say that everything sounds all the time.
    parts = parts_of(data)
    timed = [part for part in parts if annotation_of(part) == FRAMES] or parts
    seconds = sum(part.activity().class_seconds() for part in timed)
    priors = {
        "strong_head": seconds / sum(np.sum(part.durations) for part in timed),
        "weak_head": data.activity().class_clips() / len(data),
    }
    heads = {}
    for name in priors.keys() & params.keys() & set(layers):
        prior = np.clip(priors[name], 1e-4, 0.5)
        bias = np.log(prior / (1 - prior)).astype(np.float32)
        heads[name] = {**params[name], "bias": bias}
    return {**params, **heads}
