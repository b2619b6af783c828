"""What a training computes: its model, loss, optimiser and step, before there are data.

`stages.train` runs it; `jaxsed plan` compiles it for devices that are somewhere else.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.models import sed
from jaxsed.models.heads_alone import HeadsAlone, heads_alone
from jaxsed.stages import frozen
from jaxsed.stages.predictions import INT16_SCALE
from jaxsed.stages.scoring import clip_length
from jaxsed.training import overlap, sharding, step
from jaxsed.training import state as train_state
from jaxsed.training.patchout import patchout
from jaxsed.training.plateau import Plateau
from jaxsed.training.remat import Fixed, layers

Params = Any
DRAW_NUMBER = 3  # folded into a step's key; the first three are augmentation's
PATCHOUT_NUMBER = 1  # folded into a loss's key, which is dropout's
# (what the model gives, its other outputs, batch) -> (loss, measurements); of a
# `SoundEventModel` it gives logits [b, t, c].
Objective = Callable[[jax.Array, dict, dict], tuple[jax.Array, dict]]
# (model, prepared batch, key) -> batch with what else a step draws at random.
Draw = Callable[[nn.Module, dict, jax.Array], dict]


@dataclasses.dataclass(frozen=True)
class Program:
    """What a config computes: all of a training that needs neither data nor weights.

    Attributes:
        model: what is trained.
        whole: that with its encoder, which is not trained where mode is frozen.
        create: parameters -> the state before the first step.
        abstract_state: shapes and types of that state.
        shardings: tree like it, how it is laid out on the mesh.
        train_step: `(state, batch, run_key) -> (state, measurements)`.
    """

    model: nn.Module
    whole: nn.Module
    create: Callable[[Params], train_state.TrainState]
    abstract_state: train_state.TrainState
    shardings: Any
    train_step: Callable


def build_program(
    config: Mapping[str, Any],
    objective: Objective,
    n_classes: int,
    mesh: Mesh,
    inputs: Sequence[str] = ("mel",),
    draw: Draw | None = None,
) -> Program:
    """Returns what is to be compiled for a mesh, whose devices need not exist.

    Args:
        config: as `configs/common.py` describes it.
        objective: the stage's loss of a batch.
        n_classes: of both heads.
        mesh: devices.
        inputs: entries of a prepared batch that the model is called with; where mode is
            frozen, the encoder's stored frames are.
        draw: what a step draws for the global batch besides augmentation; None for
            nothing.

    Raises:
        InputError: the mesh cannot share a batch, or a setting is wrong.
    """
    sharding.check_batch_size(config["batch_size"], mesh, config["accumulate"])
    model = whole = sed.build(n_classes=n_classes, **config["model"])
    abstract = abstract_params(whole)
    layer_names = whole.encoder.layer_names
    if frozen.is_frozen(config):
        seconds = clip_length(config["data"]["clip_seconds"], whole)
        model = heads_alone(whole, seconds)
        abstract, layer_names = frozen.without_encoder(abstract), ()
        inputs = model.heard
    optimizer, schedule = optim.build_optimizer(
        config["optim"], abstract, config["steps"], layer_names
    )
    optimizer = Plateau(**config["plateau"]).scaled(optimizer)
    create = functools.partial(train_state.create, optimizer=optimizer)
    abstract_state = jax.eval_shape(create, abstract)
    shardings = sharding.state_sharding(mesh, abstract_state)
    kept = optim.frozen(config["optim"], abstract, layer_names)
    train_step = step.make_train_step(
        make_loss(model, objective, kept, config["remat"], inputs, config["patchout"]),
        optimizer,
        schedule,
        mesh,
        shardings,
        prepare=make_prepare(model, config["augment"], mesh, draw),
        accumulate=config["accumulate"],
        compiler_options=overlap.compiler_options(mesh) if config["overlap"] else None,
    )
    return Program(model, whole, create, abstract_state, shardings, train_step)


def abstract_params(model: nn.Module) -> Params:
    """Returns the shapes of a model's parameters."""
    return jax.eval_shape(lambda: init_params(model, jax.random.key(0)))


def init_params(model: nn.Module, key: jax.Array) -> Params:
    """Returns freshly drawn parameters; only shapes matter of the silent clip used."""
    n_samples = round(model.encoder.clip_seconds * model.frontend.sample_rate)
    mel = model.frontend(jnp.zeros((1, n_samples), jnp.float32))
    return model.init(key, mel)["params"]


def make_prepare(
    model: nn.Module,
    augmentation: Mapping[str, Any],
    mesh: Mesh,
    draw: Draw | None = None,
) -> step.Prepare:
    """Returns batch on the wire to batch with `mel`: augment, front-end, augment.

    Frames of a frozen encoder stay as they are.

    Args:
        model: has the front-end.
        augmentation: settings, see `augment.pipeline`.
        mesh: devices that share the batch.
        draw: see `build_program`.
    """
    vary_filterbank = augment.resolve(augmentation)["vary_filterbank"]
    rows = PartitionSpec(sharding.BATCH_AXES)
    # Each device for its own clips: XLA does not split Fourier transforms, and would
    # have every device transform the whole batch.
    frontend = jax.shard_map(
        lambda audio, bank: model.frontend(audio, bank=bank),
        mesh=mesh,
        in_specs=(rows, PartitionSpec()),
        out_specs=rows,
    )

    def prepare(batch: dict, key: jax.Array) -> dict:
        if isinstance(model, HeadsAlone):
            return {name: _to_float(name, array) for name, array in batch.items()}
        wave_key, mel_key, bank_key = jax.random.split(key, 3)
        batch = {name: _to_float(name, array) for name, array in batch.items()}
        with jax.named_scope("augment"):
            batch = augment.augment_wave(wave_key, batch, augmentation)
        with jax.named_scope("frontend"):
            bank = model.frontend.draw_bank(bank_key) if vary_filterbank else None
            batch["mel"] = frontend(batch.pop("audio"), bank)
        with jax.named_scope("augment"):
            batch = augment.augment_mel(mel_key, batch, augmentation)
            if draw is None:
                return batch
            return draw(model, batch, jax.random.fold_in(key, DRAW_NUMBER))

    return prepare


def make_loss(
    model: nn.Module,
    objective: Objective,
    frozen: Params,
    remat: str = "none",
    inputs: Sequence[str] = ("mel",),
    patchout_part: float = 0.0,
) -> step.LossFn:
    """Returns prepared batch to loss: model, objective.

    Args:
        model: what is trained.
        objective: the stage's.
        frozen: tree of bools like the parameters, from `optim.frozen`: what is kept as
            it is. No gradient of it is computed, and layers whose running statistics are
            frozen do as in evaluation.
        remat: what the backward pass computes again, see `training.remat`.
        inputs: see `build_program`.
        patchout_part: of the time steps, not seen by the encoder, see
            `training.patchout`.

    Raises:
        InputError: unknown `remat`, or the encoder cannot do without steps.
    """
    # What is impossible is refused here, not when the first step is traced: that is after
    # an evaluation, which may take an hour.
    with (
        patchout(patchout_part, model.encoder, key=None),
        layers(remat, model.encoder.layer_names),
    ):
        fixed = jax.tree.map(Fixed, frozen)

    def loss_fn(params: Params, batch: dict, key: jax.Array):
        # The backward pass then ends at the lowest layer that is trained.
        params = jax.tree.map(
            lambda leaf, kept: jax.lax.stop_gradient(leaf) if kept else leaf,
            params,
            frozen,
        )
        patchout_key = jax.random.fold_in(key, PATCHOUT_NUMBER)
        with (
            patchout(patchout_part, model.encoder, patchout_key),
            layers(remat, model.encoder.layer_names),
        ):
            (given, out), recorded = model.apply(
                {"params": params, "frozen": fixed},
                *(batch[name] for name in inputs),
                rngs={"dropout": key},
                mutable=["updates"],
            )
        with jax.named_scope("objective"):
            loss, measurements = objective(given, out, batch)
        return loss, measurements, recorded.get("updates", {})

    return loss_fn


def _to_float(name: str, array: jax.Array) -> jax.Array:
    if name == "audio":
        return array.astype(jnp.float32) * INT16_SCALE
    if name in ("labels", "clip_labels", "teacher"):
        return array.astype(jnp.float32)
    return array
