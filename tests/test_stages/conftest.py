"""A prepared set of a few scenes, and the smallest config that trains on it."""

import contextlib

import jax
import pytest

from configs import common
from jaxsed.stages import frozen, strong
from jaxsed.stages import scenes as scenes_stage
from jaxsed.stages import teachers as teachers_module
from jaxsed.training import sharding


@contextlib.contextmanager
def two_devices():
    """Stages take two of the eight devices, on which a short run costs a third less.

    Tests of several devices say which: `proof.mesh_of`, `make_mesh(devices=...)`.
    """
    of_devices = sharding.make_mesh

    def make_mesh(data=-1, fsdp=1, devices=None):
        return of_devices(data, fsdp, jax.devices()[:2] if devices is None else devices)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharding, "make_mesh", make_mesh)
        patch.setattr(teachers_module, "local_mesh", make_mesh)
        patch.setattr(frozen, "local_mesh", make_mesh)
        yield


@pytest.fixture(scope="module", autouse=True)
def _two_devices():
    with two_devices():
        yield


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    config = {"stage": "scenes", "train_clips": 16, "eval_clips": 8, "seed": 0}
    scenes_stage.run(config, folder)
    return folder


@pytest.fixture(scope="session")
def small(scenes):
    """A function that returns a config of two steps: `small(stage, **changes)`."""

    def make(stage="strong", **changes):
        config = common.training(stage)
        config.model.encoder = "tiny_atst_frame"
        config.model.sequence_width = 8
        config.data.train = str(scenes / "prepared" / "train")
        config.data.eval = str(scenes / "prepared" / "eval")
        config.batch_size = 8
        config.steps = 2
        config.optim.warmup_steps = 1
        config.every.update({"log": 1, "evaluate": 2, "save": 1})
        config.update_from_flattened_dict(changes)
        return config.to_dict()

    return make


@pytest.fixture(scope="session")
def teachers(small, tmp_path_factory):
    """Model folders of two trained models that differ in their seed."""
    folder = tmp_path_factory.mktemp("teachers")
    with two_devices():
        for seed in (1, 2):
            strong.run(small(seed=seed, **{"optim.max_lr": 1e-2}), folder / f"t{seed}")
    return {f"t{seed}": str(folder / f"t{seed}" / "model") for seed in (1, 2)}
