"""The recipes of HTS-AT: what its code says."""

import jax
import numpy as np
import pytest

from configs import htsat as htsat_recipes
from jaxsed import optim
from jaxsed.models import sed
from jaxsed.stages.program import init_params
from tests.test_configs import RATES, rates, recipe


@pytest.mark.parametrize("data", htsat_recipes.RECIPES)
def test_htsats_recipes_have_its_rates(data):
    config = recipe("htsat", f"data={data}")
    epochs = htsat_recipes.RECIPES[data].epochs
    with np.load(RATES) as golden:
        expected = golden["lr/htsat_scale"][:epochs] * golden["lr/htsat_base"]
    found = rates(config, config.steps // epochs, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert config.optim.name == "adamw" and config.optim.clip_norm == 1.0
    is_audioset = data == "audioset"
    assert (config.average.best, config.data.sampling) == (
        (15, "class_queue") if is_audioset else (0, "uniform")
    )
    assert (config.augment.mixup_probability == 1.0) == is_audioset
    assert not config.augment.mixup_targets and not config.augment.mixup_major
    network = sed.build(
        n_classes=50, **{**config.model.to_dict(), "encoder": "tiny_htsat"}
    )
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    optim.build_optimizer(config.optim.to_dict(), params, config.steps)


def test_few_clips_are_evaluated_all_the_same():
    assert recipe("htsat", "data=audioset,clips=1000").every.evaluate == 1
