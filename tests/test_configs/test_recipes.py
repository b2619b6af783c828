"""The recipes of steps 2 and 3 say what the paper says, and what they are asked for."""

import jax
import numpy as np
import pytest

from configs import common
from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages.program import init_params
from jaxsed.weights import zoo
from tests.test_configs import rates, recipe

TRAINED = ("weak", "teacher", "student", "li2024")


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("model", common.STARTS)
def test_every_recipe_fits_every_model(name, model):
    config = recipe(name, f"model={model},seed=2").to_dict()
    assert (config["model"]["encoder"], config["seed"]) == (model, 2)
    assert zoo.find(config["init"]).encoder == model
    augment.resolve(config["augment"])
    # The tiny twin has the names that rules are written in.
    tiny = {"encoder": f"tiny_{model}", "sequence_width": 4}
    network = sed.build(n_classes=447, **{**config["model"], **tiny})
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    optim.build_optimizer(
        config["optim"], params, config["steps"], network.encoder.layer_names
    )


def test_step_2_is_efficientats_routine():
    config = recipe("weak", "model=fpasst")
    assert config.steps == 200 * 391
    found = np.asarray(rates(config, 391, 200)) / config.optim.max_lr
    assert found[0] < 0.02 and (found[8:81] == 1).all()
    np.testing.assert_allclose(found[175:], 0.01, rtol=1e-5)
    assert config.data.sampling == "balanced_epoch"
    assert config.data.importance_offset_clips == 100
    assert (config.patchout, recipe("weak", "model=asit").patchout) == (0.3, 0.0)
    assert not config.teacher.logits
    assert recipe("weak", "logits=runs/as_logits").teacher.weight == 0.9


def test_settings_of_the_paper():
    teacher, student = recipe("teacher"), recipe("student")
    for config in (teacher, student):
        assert config.batch_size == 256
        assert config.optim.name == "adam" and config.optim.schedule == "cosine"
        assert config.optim.warmup_steps == 5000
        assert config.eval.median_seconds == 0.48
    # 30 and 120 epochs of 100,911 clips in batches of 256.
    assert (teacher.steps, student.steps) == (30 * 395, 120 * 395)
    assert teacher.data.sampling == "balanced" and student.data.sampling == "uniform"
    assert (teacher.model.sequence, student.model.sequence) == ("bigru", "none")
    assert teacher.model.sequence_width == 2048
    assert recipe("teacher", "model=fpasst").model.sequence_width == 1024
    assert not teacher.teacher.logits and student.teacher.logits
    mixes = ("wave_mixup_probability", "mixup_probability", "vary_filterbank")
    for name, value in augment.DEFAULTS.items():
        if name not in mixes:
            assert student.augment[name] == value


def test_ablations_of_table_1():
    assert recipe("teacher", "rnn=false").model.sequence == "none"
    for name in ("teacher", "student"):
        assert recipe(name, "model=beats").init == "BEATs_weak"
        assert recipe(name, "model=beats,step2=false").init == "BEATs_ssl"
    teachers = recipe("ensemble").teachers
    assert len(teachers) == 15
    assert teachers["teacher_m2d_1"] == "runs/teacher_m2d_1/model"
    few = recipe("ensemble", "models=beats+m2d,seeds=0,rnn=false,runs=old").teachers
    assert few.to_dict() == {
        "teacher_beats_no_rnn_0": "old/teacher_beats_no_rnn_0/model",
        "teacher_m2d_no_rnn_0": "old/teacher_m2d_no_rnn_0/model",
    }
    baseline = recipe("li2024")
    assert (baseline.optim.name, baseline.optim.layer_decay) == ("sgd", 0.75)
    assert recipe("li2024", "model=asit").optim.layer_decay == 1.0


def test_released_settings_differ_where_the_code_does():
    paper, released = recipe("teacher"), recipe("teacher", "released=true")
    assert released.optim.warmup_steps == 20_000 != paper.optim.warmup_steps
    assert released.data.sampling == "balanced_epoch"
    assert released.augment.per_batch and not paper.augment.per_batch
    student = recipe("student", "released=true")
    assert student.augment.time_roll_probability == 1.0
    assert student.eval.median_seconds == 0.36


@pytest.mark.parametrize(
    "text, message",
    [
        ("modl=beats", "did you mean 'model'"),
        ("model=beets", "did you mean 'beats'"),
        ("seed=two", "seed=two: expected int"),
        ("rnn=no", "rnn=no: expected true or false"),
        ("seed", "give seed=VALUE"),
    ],
)
def test_a_mistake_in_the_arguments_is_named(text, message):
    with pytest.raises(InputError, match=message):
        recipe("teacher", text)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("weak", "epochs=0", "epochs=0: expected a whole number, at least 1"),
        ("weak", "batch=0", "batch=0: expected"),
        ("ast", "clips=-5", "clips=-5: expected"),
    ],
)
def test_sizes_of_nothing_are_refused(name, text, message):
    with pytest.raises(InputError, match=message):
        recipe(name, text)


def test_a_model_is_tested_on_a_split():
    text = "weights=runs/ast/model,data=d/eval,metrics=accuracy+map,seconds=10"
    config = recipe("test", text).to_dict()
    assert (config["model"], config["data"]["eval"]) == ("runs/ast/model", "d/eval")
    assert config["eval"]["metrics"] == ("accuracy", "map")
    assert (config["stage"], config["eval"]["clip_seconds"]) == ("test", 10.0)
    with pytest.raises(InputError, match="data is not given: data=FOLDER"):
        recipe("test", "weights=ATST-F_weak")
