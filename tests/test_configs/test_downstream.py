"""The recipes of downstream tasks say what the paper says, and what they are asked for."""

import jax
import numpy as np
import pytest

from configs import common
from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError
from jaxsed.evaluation import evaluator
from jaxsed.models import sed
from jaxsed.stages.program import init_params
from jaxsed.weights import zoo
from tests.test_configs import recipe

TASKS = ("desed", "dcase2016", "maestro", "own")


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("mode", ["frozen", "finetune"])
def test_every_recipe_can_be_run(name, mode):
    config = recipe(name, f"model=beats,mode={mode},seed=2,drop_layers=1").to_dict()
    assert (config["stage"], config["mode"], config["seed"]) == ("downstream", mode, 2)
    assert set(config["eval"]["metrics"]) <= set(evaluator.FRAME_METRICS)
    assert config["eval"]["keep_empty_clips"]
    augment.resolve(config["augment"])
    # What acts before the encoder cannot act on frames that are stored.
    assert mode == "finetune" or config["augment"] == augment.DEFAULTS
    tiny = {**config["model"], "encoder": "tiny_beats"}
    network = sed.build(n_classes=10, **tiny)
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    names = network.encoder.layer_names
    assert "block_2" not in names
    optim.build_optimizer(config["optim"], params, config["steps"], names)


@pytest.mark.parametrize("model", common.STARTS)
def test_weights_are_the_rows_of_table_2(model):
    for weights, step in (("ssl", "ssl"), ("weak", "weak"), ("strong", "strong")):
        found = zoo.find(recipe("desed", f"model={model},weights={weights}").init)
        assert (found.encoder, found.stage) == (model, step)
    assert recipe("own", f"model=tiny_{model},weights=none").init == ""
    assert recipe("own", f"model=tiny_{model},weights=runs/a/model").init == (
        "runs/a/model"
    )
    with pytest.raises(InputError, match=f"nothing is released of tiny_{model}"):
        recipe("own", f"model=tiny_{model}")


def test_desed_is_strong_weak_and_synthetic():
    config = recipe("desed", "data=d,on=eval")
    assert config.data.train == ("d/train_strong", "d/train_synthetic", "d/train_weak")
    assert (config.data.shares, config.data.eval) == ((1, 1, 2), "d/eval")
    # Section IV-B; 100 epochs of 1,578 weak clips, half of a batch of 256.
    assert (config.optim.layer_decay, config.steps) == (0.5, 1300)
    assert (config.optim.warmup_steps, config.model.head) == (65, "attention")
    without = recipe("desed", "strong=false,mode=frozen")
    assert without.data.train == (
        "data/desed/train_synthetic",
        "data/desed/train_weak",
    )
    assert (without.data.shares, without.optim.layer_decay) == ((1, 1), 1.0)


def test_dcase2016_is_the_released_script():
    config = recipe("dcase2016", "layer_decay=0.95")
    assert (config.optim.name, config.optim.weight_decay) == ("adamw", 0.001)
    assert (config.optim.max_lr, config.optim.layer_decay) == (1.06e-4, 0.95)
    assert (config.eval.median_seconds, config.eval.min_seconds) == (0.25, 0.125)
    assert (config.eval.postprocess, config.eval.threshold) == ("hear", 0.5)
    assert config.augment.mixup_probability == 0.5
    frozen = recipe("dcase2016", "mode=frozen,optimizer=adamw")
    assert (frozen.optim.max_lr, frozen.steps) == (0.2, 1000)
    assert frozen.optim.weight_decay == 0.001
    assert recipe("dcase2016", "mode=frozen").optim.weight_decay == 0
    released = recipe("dcase2016", "released=true")
    assert (released.optim.warmup_steps, released.eval.threshold) == (4000, 0.6225)
    assert released.augment.per_batch
    # Its rules are of a decay that a frozen encoder's training has not.
    assert not recipe("dcase2016", "released=true,mode=frozen").optim.decay_rules


@pytest.mark.parametrize("name", TASKS)
def test_data_and_layer_decay_are_what_was_asked_for(name):
    config = recipe(name, "data=d,on=eval,layer_decay=0.7")
    data = config.data.to_dict()
    for folder in (data["eval"], *np.atleast_1d(data["train"])):
        assert folder.startswith("d/")
    assert data["eval"] == ("d/fold00" if name == "maestro" else "d/eval")
    assert config.optim.layer_decay == 0.7
    # There is nothing below a frozen encoder's heads.
    assert recipe(name, "mode=frozen").optim.layer_decay == 1.0
    with pytest.raises(
        InputError, match=r"layer_decay=0\.7 does nothing with mode=fro"
    ):
        recipe(name, "mode=frozen,layer_decay=0.7")


def test_maestros_folds_are_hears():
    folds = [recipe("maestro", f"fold={k},data=m") for k in range(5)]
    assert folds[0].data.train == ("m/fold02", "m/fold03", "m/fold04")
    assert folds[4].data.train == ("m/fold01", "m/fold02", "m/fold03")
    assert folds[4].data.eval == "m/fold00"  # for validation
    assert recipe("maestro", "fold=4,data=m,on=eval").data.eval == "m/fold04"
    for config in folds:
        assert config.data.eval not in config.data.train
    assert (folds[0].eval.median_seconds, folds[0].eval.min_seconds) == (0.15, 0.05)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("desed", "mode=frozn", "did you mean 'frozen'"),
        ("desed", "on=test", "unknown on 'test'"),
        ("maestro", "fold=5", "fold=5: expected 0 to 4"),
        ("own", "lr=fast", "lr=fast: expected float"),
        ("dcase2016", "fold=1", "unknown argument 'fold'"),
    ],
)
def test_a_mistake_in_the_arguments_is_named(name, text, message):
    with pytest.raises(InputError, match=message):
        recipe(name, text)


def test_several_folders_can_be_changed_on_the_command_line():
    config = recipe("desed")
    common.several(config, ["a", "b"])
    config.data.shares = (3, 1)
    assert config.to_dict()["data"]["train"] == ("a", "b")
