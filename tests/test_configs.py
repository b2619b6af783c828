"""The recipes say what the paper says, and what they are asked for."""

import importlib
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import ast as ast_recipes
from configs import common
from configs import htsat as htsat_recipes
from configs import ssast_pretrain as ssast_recipes
from jaxsed import optim
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages import phases, pretrain
from jaxsed.stages.program import init_params
from jaxsed.weights import zoo

RATES = Path(__file__).parent / "golden" / "recipe.npz"
TRAINED = ("weak", "teacher", "student", "li2024")


def recipe(name, text=""):
    return importlib.import_module(f"configs.{name}").get_config(text)


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


def rates(config, epoch_steps, epochs):
    """The learning rate at the last step of each epoch, when every warm-up is over."""
    params = {"kernel": jax.ShapeDtypeStruct((2, 2), np.float32)}
    _, schedule = optim.build_optimizer(config.optim.to_dict(), params, config.steps)
    schedule = jax.jit(jax.vmap(schedule))
    return schedule((1 + np.arange(epochs)) * epoch_steps - 1)


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


def test_few_clips_are_evaluated_all_the_same():
    assert recipe("htsat", "data=audioset,clips=1000").every.evaluate == 1


def test_students_in_phases_keep_the_recipe():
    whole = recipe("student", "model=beats").to_dict()
    config = recipe("student", "model=beats,phases=4-2-1,method=patch_pi").to_dict()
    chain = phases.as_chain(config)
    links = [chain["links"][name] for name in chain["order"]]
    assert [link["model"]["compression"] for link in links] == [
        "patch_pi-4",
        "patch_pi-2",
        "none",
    ]
    # 18, 18 and 84 of 120 epochs of 395 steps.
    assert [link["steps"] for link in links] == [18 * 395, 18 * 395, 84 * 395]
    assert links[0]["init"] == "BEATs_weak" and links[2]["carry"] == "all"
    own = {"steps", "model", "seed", "init", "carry", "prior_bias"}
    for link in links:
        assert {k: v for k, v in link.items() if k not in own} == {
            k: v for k, v in whole.items() if k not in own
        }


def test_coarse_to_fine_has_the_papers_lengths():
    def epochs(text):
        config = recipe("coarse_to_fine", text).to_dict()
        epoch_steps = config["training"]["every"]["evaluate"]
        assert all(steps % epoch_steps == 0 for steps in config["steps"])
        return [steps // epoch_steps for steps in config["steps"]]

    assert epochs("data=audioset,phases=2-1") == [1, 4]
    for name in ("vggsound", "voxceleb", "kinetics_sounds"):
        assert epochs(f"data={name}") == [5, 15]
        assert epochs(f"data={name},phases=4-2-1") == [3, 3, 14]


def test_coarse_to_fine_is_the_recipe_that_it_splits():
    config = recipe("coarse_to_fine", "data=voxceleb,until=0.419,method=avg_pool")
    whole = recipe("ast", "data=voxceleb,stride=16").to_dict()
    until = {"metric": "eval/accuracy", "value": 0.419}
    del whole["steps"], whole["model"]["compression"]
    assert config.training.to_dict() == {**whole, "until": until}
    assert config.method == "avg_pool"
    swin = recipe("coarse_to_fine", "model=htsat,data=audioset").training
    assert (swin.model.encoder, swin.optim.name) == ("htsat", "adamw")
    step2 = recipe("coarse_to_fine", "model=fpasst,data=audioset,batch=64")
    assert (step2.training.patchout, step2.training.batch_size) == (0.3, 64)
    assert recipe("coarse_to_fine").training.data.train == "data/vggsound/train"
    assert recipe("coarse_to_fine", "model=asit") == recipe(
        "coarse_to_fine", "model=asit,data=audioset"
    )
    text = "stage=strong,model=beats,folder=x,logits=y,lr=1e-3,epochs=12"
    frames = recipe("coarse_to_fine", text)
    assert frames.steps == (3 * 395, 9 * 395) and frames.training.optim.max_lr == 1e-3
    assert (
        frames.training.teacher.logits == "y" and frames.training.data.eval == "x/eval"
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("data=vggsond", "did you mean 'vggsound'"),
        ("data=voxceleb,model=htsat", "unknown data of htsat"),
        ("phases=1-4", "phases=1-4"),
        ("stage=strog", "did you mean 'strong'"),
        ("stage=strong,batch=8", "unknown argument 'batch'"),
        ("stage=strong,model=ast", "unknown model 'ast'"),
        ("stage=strong,data=voxceleb", "unknown data of atst_frame, stage strong"),
        ("model=beats,data=vggsound", "unknown data of beats, stage weak 'vggsound'"),
        ("until=49.4", "until=49.4: expected a part of 1"),
        ("data=scenes,model=htsat", "model=htsat does nothing with data=scenes"),
    ],
)
def test_a_mistake_in_coarse_to_fine_is_named(text, message):
    with pytest.raises(InputError, match=message):
        recipe("coarse_to_fine", text)


@pytest.mark.parametrize("stage", ["weak", "strong"])
def test_coarse_to_fine_in_miniature_names_what_it_makes(stage):
    config = recipe("coarse_to_fine", f"data=scenes,stage={stage}").to_dict()
    taught = [] if stage == "weak" else ["teacher", "ensemble"]
    names = ["scenes", *taught, "baseline", "phases"]
    assert list(config["order"]) == names
    baseline, in_phases = (config["links"][n] for n in ("baseline", "phases"))
    assert sum(in_phases["steps"]) == baseline["steps"]
    assert baseline["data"]["train"] == "@/scenes/prepared/train"
    assert bool(baseline["teacher"]["logits"]) == (stage == "strong")


def test_a_model_is_tested_on_a_split():
    text = "weights=runs/ast/model,data=d/eval,metrics=accuracy+map,seconds=10"
    config = recipe("test", text).to_dict()
    assert (config["model"], config["data"]["eval"]) == ("runs/ast/model", "d/eval")
    assert config["eval"]["metrics"] == ("accuracy", "map")
    assert (config["stage"], config["eval"]["clip_seconds"]) == ("test", 10.0)
    with pytest.raises(InputError, match="data is not given: data=FOLDER"):
        recipe("test", "weights=ATST-F_weak")


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
