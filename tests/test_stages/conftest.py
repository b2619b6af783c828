"""A prepared set of a few scenes, and the smallest config that trains on it."""

import pytest

from configs import common
from jaxsed.stages import scenes as scenes_stage
from jaxsed.stages import strong


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
    for seed in (1, 2):
        strong.run(small(seed=seed, **{"optim.max_lr": 1e-2}), folder / f"t{seed}")
    return {f"t{seed}": str(folder / f"t{seed}" / "model") for seed in (1, 2)}
