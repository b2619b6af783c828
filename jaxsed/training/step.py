"""The training step: every stage's, with the stage's loss injected."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from jaxsed.losses import Measurements
from jaxsed.training import accumulation, sharding
from jaxsed.training.plateau import rate_scale
from jaxsed.training.state import Params, TrainState

Batch = dict[str, jax.Array]
# (params, batch, key) -> (scalar loss, what is worth logging) or, where layers keep
# running statistics, (loss, measurements, updates): a part of the parameter tree.
LossFn = Callable[[Params, Batch, jax.Array], tuple]
# (batch, key) -> batch: what is done to the whole global batch before.
Prepare = Callable[[Batch, jax.Array], Batch]


def make_train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    schedule: Callable[[jax.Array], jax.Array],
    mesh: Mesh,
    state_shardings: Any,
    prepare: Prepare = lambda batch, key: batch,
    accumulate: int = 1,
    compiler_options: Mapping[str, Any] | None = None,
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Measurements]]:
    """Returns the compiled step `(state, batch, run_key) -> (state, measurements)`.

    The key of a step is `fold_in(run_key, step)`: randomness depends on seed and step
    alone, so a resumed run draws what an uninterrupted one would have. The run key is
    an argument rather than a constant so that runs that differ in their seed share
    one compiled program.

    Updates that the loss comes with replace the parameters of the same path after the
    optimiser's own update. The step is one program over the global batch, so they are
    statistics of that, however many devices share it.

    Args:
        loss_fn: the stage's loss.
        optimizer: an optax transformation.
        schedule: learning rate of a step, for the log only.
        mesh: devices.
        state_shardings: tree as `TrainState`, from `sharding.state_sharding`.
        prepare: applied to the global batch; no gradient passes through it. What looks
            at several examples, such as mixing, belongs here.
        accumulate: parts of the batch whose losses and gradients are computed one after
            another (see `accumulation.mean_over_parts`); `loss_fn` is then a mean over
            examples. Updates are the mean of the parts'.
        compiler_options: what XLA is told, such as `overlap.compiler_options`.
    """

    everywhere = sharding.replicated(mesh)

    def with_updates(params: Params, batch: Batch, key: jax.Array):
        # Kernels have to be told which devices there are.
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            loss, measurements, *recorded = loss_fn(params, batch, key)
        return loss, (measurements, recorded[0] if recorded else {})

    def gradients(params: Params, batch: Batch, key: jax.Array):
        grad_fn = jax.value_and_grad(with_updates, has_aux=True)
        found, grads = grad_fn(params, batch, key)
        # As the moments they go into: a device adds up and keeps its share of them alone.
        return found, jax.lax.with_sharding_constraint(grads, state_shardings.params)

    def train_step(state: TrainState, batch: Batch, run_key: jax.Array):
        key = jax.random.fold_in(run_key, state.step)
        # Gathered before they are used: left to choose, the partitioner splits small
        # batches of activations along features instead, and sends those around.
        params = jax.lax.with_sharding_constraint(state.params, everywhere)
        prepare_key, loss_key = jax.random.split(key)
        (loss, (measurements, recorded)), grads = accumulation.mean_over_parts(
            functools.partial(gradients, params),
            prepare(batch, prepare_key),
            loss_key,
            accumulate,
            mesh,
        )
        with jax.named_scope("optimizer"):
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            params = _replaced(optax.apply_updates(state.params, updates), recorded)
        measurements = {
            **measurements,
            "loss": loss,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": jnp.asarray(schedule(state.step), jnp.float32)
            * rate_scale(state.opt_state),
        }
        new_state = TrainState(state.step + 1, params, opt_state)
        return new_state, measurements

    return jax.jit(
        train_step,
        in_shardings=(state_shardings, sharding.batch_sharding(mesh), everywhere),
        out_shardings=(state_shardings, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options or None,
    )


def _replaced(params: Params, recorded: Mapping[str, Any]) -> Params:
    """Returns `params` with the leaves of `recorded`, a part of the same tree."""
    return {
        **params,
        **{
            name: _replaced(params[name], value)
            if isinstance(value, Mapping)
            else value
            for name, value in recorded.items()
        },
    }
