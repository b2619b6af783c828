"""A short training on made-up clips: what every mesh and every set of processes must
compute alike. As a program, it is one of several processes.
"""

import sys

import jax
import numpy as np

from configs import common
from jaxsed import losses
from jaxsed.stages import start
from jaxsed.stages.program import build_program
from jaxsed.stages.train import gathered
from jaxsed.training import sharding

STEPS, BATCH, CLASSES = 20, 8, 5


def config(**changes):
    settings = common.training("strong")
    settings.model.encoder = "tiny_atst_frame"
    settings.batch_size = BATCH
    settings.steps = STEPS
    settings.optim.warmup_steps = 2
    settings.optim.max_lr = 3e-4
    settings.augment.wave_mixup_probability = 0.5
    settings.augment.time_roll_probability = 1.0
    settings.augment.mixup_probability = 0.5
    settings.update_from_flattened_dict(changes)
    return settings.to_dict()


def global_batch(step):
    rng = np.random.default_rng(step)
    return {
        "audio": (3000 * rng.standard_normal((BATCH, 16000))).astype(np.int16),
        "labels": (rng.random((BATCH, 25, CLASSES)) < 0.2).astype(np.uint8),
    }


def mesh_of(devices, fsdp):
    return jax.make_mesh(
        (len(devices) // fsdp, fsdp),
        sharding.BATCH_AXES,
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
        devices=devices,
    )


def train(mesh, **changes):
    """Returns the losses of all steps and the parameters after the last."""

    def objective(logits, out, batch):
        return losses.frame_bce(logits, batch["labels"])

    program = build_program(config(**changes), objective, CLASSES, mesh)
    params = start.start_params(
        program.model,
        program.abstract_state.params,
        0,
        "",
        program.shardings.params,
    )
    state = jax.jit(program.create, out_shardings=program.shardings)(params)
    share, found = BATCH // jax.process_count(), []
    own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    for step in range(STEPS):
        batch = {name: array[own] for name, array in global_batch(step).items()}
        batch = sharding.put_batch(batch, mesh)
        state, measurements = program.train_step(state, batch, jax.random.key(0))
        found.append(measurements["loss"])
    return np.array(jax.device_get(found)), gathered(state.params)


def main(out, coordinator, num_processes, process_id):
    from jaxsed.training import processes

    processes.join(coordinator, int(num_processes), int(process_id))
    found, params = train(mesh_of(jax.devices(), fsdp=4))
    if processes.is_first():
        leaves = {f"leaf{i}": leaf for i, leaf in enumerate(jax.tree.leaves(params))}
        np.savez(out, losses=found, **leaves)


if __name__ == "__main__":
    main(sys.argv[1], *(argument.partition("=")[2] for argument in sys.argv[2:]))
