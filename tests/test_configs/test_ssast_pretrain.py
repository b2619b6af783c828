"""SSAST's pre-training has the settings of both papers."""

import jax
import pytest

from configs import ssast_pretrain as ssast_recipes
from jaxsed import optim
from jaxsed.models import sed
from jaxsed.stages import pretrain
from jaxsed.stages.program import init_params
from tests.test_configs import recipe


def test_ssasts_pretraining_has_both_papers_settings():
    base = recipe("ssast_pretrain", "phases=1")
    assert (base.stage, base.batch_size, base.steps) == ("pretrain", 24, 800_000)
    assert (base.optim.max_lr, base.optim.beta1, base.optim.l2_penalty) == (
        1e-4,
        0.95,
        5e-7,
    )
    assert (base.optim.warmup_steps, base.optim.warmup_every) == (1000, 50)
    assert (base.pretext.part, base.pretext.mse_weight) == (400 / 512, 10)
    assert (base.plateau.patience, base.plateau.factor) == (2, 0.5)
    assert (base.pretext.masks, base.every.evaluate) == ("released", 4000)
    two = recipe("ssast_pretrain", "phases=1,data=a+b").data
    assert (two.train, two.eval) == (("a/train", "b/train"), "a/eval")
    coarse = recipe("ssast_pretrain")
    assert (coarse.stage, coarse.method) == ("phases", "fshift")
    assert (coarse.factors, coarse.steps) == ((4, 1), (100_000, 500_000))
    tiny = recipe("ssast_pretrain", "model=ssast_deit_tiny_frame,phases=1")
    assert (tiny.batch_size, tiny.optim.max_lr) == (120, 5e-4)
    # As many clips as base hears, and between evaluations as in the release.
    assert (tiny.steps, tiny.every.evaluate) == (160_000, 800)
    assert tiny.pretext.masks == "single"


@pytest.mark.parametrize("model", ssast_recipes.MODELS)
def test_ssasts_pretraining_fits_its_models(model):
    config = recipe("ssast_pretrain", f"model={model},phases=1").to_dict()
    network = sed.build(n_classes=1, **config["model"])
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    optim.build_optimizer(
        config["optim"], params, config["steps"], network.encoder.layer_names
    )
    assert pretrain.task(config).targets is None
