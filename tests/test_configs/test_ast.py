"""The recipes of AST: what the paper and its code say."""

import jax
import numpy as np
import pytest

from configs import ast as ast_recipes
from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages.program import init_params
from tests.test_configs import RATES, rates, recipe


@pytest.mark.parametrize("data", ast_recipes.RECIPES)
def test_asts_recipes_can_be_run(data):
    config = recipe("ast", f"data={data},clips=120000").to_dict()
    augment.resolve(config["augment"])
    tiny = {**config["model"], "encoder": f"tiny_{config['model']['encoder']}"}
    network = sed.build(n_classes=35, **tiny)
    assert network.frontend.name == config["model"]["frontend"]
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    optim.build_optimizer(config["optim"], params, config["steps"])


@pytest.mark.parametrize(
    ("data", "name", "options"),
    [
        ("audioset", "audioset_full", ""),
        ("audioset_balanced", "audioset_balanced", ""),
        ("esc50", "esc50_audioset_init", ",lr=1e-5"),
        ("speech_commands", "speechcommands", ""),
        ("vggsound", "like_audioset_20_epochs", ""),
    ],
)
def test_asts_rates_are_the_original_ones(data, name, options):
    with np.load(RATES) as golden:
        expected = golden[f"lr/{name}"]
    config = recipe("ast", f"data={data}{options}")
    epoch_steps = config.steps // len(expected)
    found = rates(config, epoch_steps, len(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_asts_settings():
    full, small = recipe("ast"), recipe("ast", "data=audioset_balanced")
    assert (full.model.encoder, full.model.head) == ("ast", "tokens")
    assert recipe("ast", "stride=16").model.encoder == "ast_s16"
    assert full.data.sampling == "balanced" and small.data.sampling == "uniform"
    assert (full.average.last, small.average.last) == (5, 20)
    assert (full.optim.beta1, full.optim.l2_penalty) == (0.95, 5e-7)
    assert full.data.wavmix_probability == 0.5 and not full.data.wavmix_major
    assert full.augment.specaugment_fill == pytest.approx(4.2677393 / 2 / 4.5689974)
    words = recipe("ast", "data=speech_commands")
    assert words.augment.noise_probability == 1.0 and words.clip_loss == "bce"
    assert words.augment.specaugment_time_part * 98 == 48
    assert words.eval.clip_seconds == words.data.clip_seconds == 1.0
    fold = recipe("ast", "data=esc50")
    assert fold.clip_loss == "ce" and fold.optim.warmup_steps == 0
    voices = recipe("ast", "data=voxceleb,batch=96,lr=8e-5")
    assert (voices.batch_size, voices.optim.max_lr) == (96, 8e-5)
    with pytest.raises(InputError, match="did you mean 'esc50'"):
        recipe("ast", "data=esc")
    with pytest.raises(InputError, match="stride '12'"):
        recipe("ast", "stride=12")
