import json
import shutil

import jax
import numpy as np
import pytest

import jaxsed
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages import pretrain, start, strong, train, weak
from jaxsed.stages.program import init_params
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files

STEPS = 24


@pytest.fixture(scope="module")
def pretraining(small):
    """A function that returns the config of a tiny pre-training, at C = 4."""

    def make(**changes):
        config = small(
            "pretrain",
            **{
                "model.encoder": "tiny_ssast",
                "model.head": "masked_patches",
                "model.compression": "fshift-4",
                "optim.schedule": "constant",
                "optim.max_lr": 2e-3,
                "steps": STEPS,
                "every.evaluate": 8,
                "every.save": 8,
                # Nothing is ever good enough: the rate halves at every evaluation.
                "plateau.metric": "eval/pretext_accuracy",
                "plateau.patience": 0,
            },
        )
        config["pretext"] = dict(pretrain.DEFAULTS)
        config["eval"] = {
            "metrics": ("pretext_accuracy", "nce", "mse"),
            "batch_size": 8,
        }
        for name, value in changes.items():
            section, _, key = name.partition(".")
            (config[section] if key else config)[key or section] = value
        return config

    return make


@pytest.fixture(scope="module")
def finished(pretraining, tmp_path_factory):
    """A finished run that could not have read a label."""

    def refuse(self, row):
        raise AssertionError("a label was read")

    workdir = tmp_path_factory.mktemp("runs") / "pretrain"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreparedData, "events", refuse)
        pretrain.run(pretraining(), workdir)
    return workdir


def test_predictions_get_better_on_clips_never_heard(finished):
    lines = read_metrics(finished / "metrics.jsonl")
    evaluations = [line for line in lines if "eval/nce" in line]
    assert [line["step"] for line in evaluations] == [0, 8, 16, STEPS]
    first, last = evaluations[0], evaluations[-1]
    assert last["eval/mse"] < 0.8 * first["eval/mse"]
    assert last["eval/nce"] < first["eval/nce"] - 0.1
    steps = [line for line in lines if "train/loss" in line]
    assert steps[-1]["train/loss"] < 0.8 * steps[0]["train/loss"]
    joint = steps[-1]["train/nce"] + 10 * steps[-1]["train/mse"]
    assert steps[-1]["train/loss"] == pytest.approx(joint, rel=1e-5)


def test_the_rate_falls_with_the_recorded_evaluations(finished):
    lines = read_metrics(finished / "metrics.jsonl")
    rates = {m["step"]: m["train/learning_rate"] for m in lines if "train/loss" in m}
    found = [m["eval/pretext_accuracy"] for m in lines if "eval/nce" in m][1:]
    best, expected, scale = -1, {}, 1.0
    for step, value in zip((8, 16), found):
        scale *= 1.0 if value > best * (1 + 1e-4) else 0.5
        best, expected[step + 1] = max(best, value), 2e-3 * scale
    for step, rate in expected.items():
        assert rates[step] == pytest.approx(rate)


def test_a_run_that_was_killed_ends_with_the_same_bits(finished, pretraining, tmp_path):
    """Killed after an evaluation, which only the log knows of."""
    step = STEPS - 8
    shutil.copytree(
        finished / "checkpoints" / str(step), tmp_path / "checkpoints" / str(step)
    )
    lines = (finished / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    (tmp_path / "metrics.jsonl").write_text("".join(kept))
    pretrain.run(pretraining(), tmp_path)
    whole, resumed = (files.load_model(d / "model")[0] for d in (finished, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)

    def logged(folder):
        return [
            {k: v for k, v in line.items() if k != "train/clips_per_second"}
            for line in read_metrics(folder / "metrics.jsonl")
        ]

    assert logged(tmp_path) == logged(finished)


def test_the_result_starts_a_training_on_labels(finished, small, tmp_path):
    config = small(
        "weak",
        **{
            "model.encoder": "tiny_ssast",
            "model.compression": "fshift-4",
            "init": str(finished / "model"),
            "steps": 1,
            "every.evaluate": 1,
            "optim.frozen": ("^encoder/",),
            "eval.metrics": ("map",),
        },
    )
    weak.run(config, tmp_path)
    before, after = (files.load_model(d / "model")[0] for d in (finished, tmp_path))
    jax.tree.map(np.testing.assert_array_equal, after["encoder"], before["encoder"])
    assert set(after) == {"encoder", "strong_head", "weak_head"}


def test_all_of_it_goes_on_at_a_finer_resolution(finished, pretraining):
    finer = sed.build("tiny_ssast", 1, head="masked_patches", compression="fshift-2")
    abstract = jax.eval_shape(lambda: init_params(finer, jax.random.key(0)))
    params = start.start_params(
        finer, abstract, 0, str(finished / "model"), carry="all"
    )
    shapes = jax.tree.map(lambda leaf: leaf.shape, abstract)
    assert jax.tree.map(np.shape, params) == shapes
    before, _ = files.load_model(finished / "model")
    for name in ("mask_token", "generative_head"):
        jax.tree.map(np.testing.assert_array_equal, params[name], before[name])


def test_the_result_detects_nothing_and_says_so(finished):
    with pytest.raises(InputError, match="knows no classes"):
        jaxsed.load(finished / "model")


def test_each_clip_and_pass_draws_its_own_masks(pretraining):
    task = pretrain.task(pretraining())
    model = sed.build("tiny_ssast", 1, head="masked_patches", compression="fshift-4")
    draw = jax.jit(lambda key: task.draw(model, {"mel": np.empty((8, 1, 1))}, key))
    hidden = np.asarray(draw(jax.random.key(0))["hidden"])
    assert hidden.shape == (8, 2, 100)
    assert len(np.unique(hidden.reshape(16, 100), axis=0)) == 16


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model.head": "linear"}, "set model.head=masked_patches"),
        ({"pretext": {"part": 0.999}}, "at most 126"),
        ({"pretext": {"masks": "cluster"}}, "did you mean 'clusters'"),
        ({"pretext": {"mse_wait": 1.0}}, "did you mean 'mse_weight'"),
        ({"model.encoder": "tiny_asit"}, "do not overlap"),
        ({"plateau.metric": "eval/map"}, "plateau.metric"),
    ],
)
def test_what_cannot_be_pretrained_is_refused(pretraining, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        pretrain.run(pretraining(**changes), tmp_path)


def test_folders_with_other_classes_are_joined(
    pretraining, small, tmp_path, monkeypatch
):
    folders = [pretraining()["data"][split] for split in ("train", "eval")]
    known = [PreparedData(folder).vocabulary.hash for folder in folders]
    assert known[0] != known[1]

    class Joined(Exception):
        pass

    def build_program(config, objective, n_classes, *rest):
        raise Joined(n_classes)

    monkeypatch.setattr(train, "build_program", build_program)
    with pytest.raises(Joined):
        pretrain.run(pretraining(**{"data.train": folders}), tmp_path / "run")
    with pytest.raises(InputError, match="prepare both with the same --vocabulary"):
        strong.run({**small(), "data": {**small()["data"], "train": folders}}, tmp_path)
