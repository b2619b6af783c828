"""One contender of `benchmarks.encoders`: a jaxsed model in this process.

python -m benchmarks.encoder_worker ENCODER DTYPE
"""

import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.side_by_side import serve
from jaxsed import losses
from jaxsed.models import sed
from jaxsed.models.dense import multiplied_in
from jaxsed.stages.program import init_params
from jaxsed.training import sharding, state, step

N_CLASSES = 447
N_SAMPLES = 160_000


def prepare(encoder: str, dtype: str, mode: str, batch: int) -> Callable[[], object]:
    """Returns a forward pass or a training step, waveform in, ready to be timed.

    Args:
        encoder: a name in `models.sed.ENCODERS`.
        dtype: of the matrix products.
        mode: "forward" or "step".
        batch: number of 10 s clips.
    """
    model = sed.build(encoder, N_CLASSES, dtype=dtype)
    shapes = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.02, leaf.shape), leaf.dtype), shapes
    )
    wave = jnp.asarray(rng.normal(0, 0.1, (batch, N_SAMPLES)), jnp.float32)
    if mode == "forward":
        params = multiplied_in(params, dtype)  # as a `Detector` holds them
        forward = jax.jit(
            lambda params, wave: model.apply({"params": params}, model.frontend(wave))[
                0
            ]
        )
        return lambda: forward(params, wave).block_until_ready()
    return _training_step(model, params, wave)


def _training_step(model, params, wave):
    """The step that every stage of jaxsed runs, with frame labels as targets."""

    def loss_fn(params, batch, key):
        mel = model.frontend(batch["audio"])
        logits, _ = model.apply({"params": params}, mel)
        return losses.frame_bce(logits, batch["labels"])

    mesh = sharding.make_mesh(data=-1, fsdp=1)
    optimizer = optax.adam(1e-5)
    train_state = state.create(params, optimizer)
    shardings = sharding.state_sharding(mesh, jax.eval_shape(lambda: train_state))
    # As it comes out of a step: otherwise the second step is compiled anew.
    train_state = jax.device_put(train_state, shardings)
    run_step = step.make_train_step(loss_fn, optimizer, lambda _: 1e-5, mesh, shardings)
    batch = {"audio": wave, "labels": jnp.zeros((len(wave), 250, N_CLASSES))}
    batch = jax.device_put(batch, sharding.batch_sharding(mesh))
    held = [train_state]

    def call():
        held[0], measurements = run_step(held[0], batch, jax.random.key(0))
        return measurements["loss"].block_until_ready()

    return call


if __name__ == "__main__":
    name, dtype_name = sys.argv[1:]
    serve(lambda **cell: prepare(name, dtype_name, **cell))
