import json
import shutil

import jax
import numpy as np
import pytest

import jaxsed
from configs import common
from configs import weak as recipe
from jaxsed import losses
from jaxsed.data.records import PreparedData
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.errors import InputError
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.plan import step as plan_step
from jaxsed.stages import ensemble, weak
from jaxsed.training import sharding
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files

CLIP_METRICS = ("map", "auc", "d_prime", "accuracy")


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """Two steps, evaluated as frames and as clips."""
    workdir = tmp_path_factory.mktemp("runs") / "weak"
    weak.run(small("weak", **{"eval.metrics": ("map", "psds1_macro")}), workdir)
    return workdir


def with_one_label(source, folder):
    """The same scenes, as if each had one class."""
    shutil.copytree(source, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text()) | {"labels": "single"}
    path.write_text(json.dumps(manifest))
    return str(folder)


def test_weak_model_detects_by_the_frames_its_clip_logits_average(finished):
    evaluated = read_metrics(finished / "metrics.jsonl")[0]
    assert {"eval/map", "eval/psds1_macro"} <= evaluated.keys()
    detector = jaxsed.load(finished / "model")
    assert detector.description["stage"] == "weak"
    rng = np.random.default_rng(0)
    wave = 0.1 * rng.standard_normal((2, 160000)).astype(np.float32)
    frames, clip = detector.logits(wave), detector.clip_logits(wave)
    np.testing.assert_allclose(frames.mean(1), clip, atol=1e-5)


@pytest.fixture(scope="module")
def clip_teacher(finished, small, tmp_path_factory):
    """The store of a teacher's logits of whole clips."""
    config = common.ensemble({"t": str(finished / "model")})
    config.targets = "clip"
    config.data.train = small()["data"]["train"]
    config.data.eval = small()["data"]["eval"]
    config.batch_size = 8
    config.eval.metrics = ("map", "accuracy")
    workdir = tmp_path_factory.mktemp("runs") / "ensemble"
    ensemble.run(config.to_dict(), workdir)
    return workdir, config


def test_an_ensemble_stores_logits_of_whole_clips(clip_teacher, finished, small):
    workdir, config = clip_teacher
    data = PreparedData(small()["data"]["eval"])
    stored = TeacherLogits(workdir / "eval_logits")
    assert stored.n_frames == 1
    lines = read_metrics(workdir / "metrics.jsonl")
    last = [m for m in read_metrics(finished / "metrics.jsonl") if "eval/map" in m][-1]
    # The same model on the same clips, but for float16.
    assert lines[0]["eval/map"] == pytest.approx(last["eval/map"], abs=0.02)
    assert 0 <= lines[0]["eval/accuracy"] <= 1
    scores = ScoreStore(workdir / "scores")
    assert scores.logits.shape[1] == 1 and scores.frame_seconds == 10.0
    np.testing.assert_array_equal(scores.logits[2], stored.get(data.ids[2]))
    config.eval.metrics = ("psds1",)
    with pytest.raises(InputError, match="metrics has psds1, but targets=clip"):
        ensemble.run(config.to_dict(), workdir)


def test_step_2_learns_from_teachers_and_averages_what_it_evaluated(
    clip_teacher, small, tmp_path
):
    changes = {
        "teacher.logits": str(clip_teacher[0] / "logits"),
        "teacher.weight": 0.5,
        "eval.metrics": CLIP_METRICS,
        "every.evaluate": 1,
        "average.last": 2,
        "optim.warmup_steps": 0,
        "data.sampling": "class_queue",
        "patchout": 0.3,
    }
    weak.run(small("weak", **changes), tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    step = next(line for line in lines if "train/loss" in line)
    assert step["train/teacher_part"] == 1.0
    mean = (step["train/label_bce"] + step["train/teacher_bce"]) / 2
    assert step["train/loss"] == pytest.approx(mean, rel=1e-5)
    assert set(lines[-2]) == {"step"} | {f"average/{m}" for m in CLIP_METRICS}
    assert lines[-1]["done"] and not (tmp_path / "run" / "snapshots").exists()
    # Clips alone were asked for, so that no frame was stored.
    scores = ScoreStore(tmp_path / "run" / "scores")
    assert scores.logits.shape[1] == 1
    table = (tmp_path / "run" / "scores" / "per_class_clips.tsv").read_text()
    assert table.startswith("class\t")
    description = files.read_description(tmp_path / "run" / "model")
    assert description["provenance"]["average"]["last"] == 2


def test_one_label_a_clip_is_learned_by_cross_entropy(small, scenes, tmp_path):
    train = with_one_label(scenes / "prepared" / "eval", tmp_path / "train")
    logits = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    heard = {"clip_logits": logits}
    labels = {"clip_labels": np.eye(4, dtype=np.float32)[:3]}
    for settings, loss in (
        ({"data.train": train}, losses.clip_ce),
        ({"data.train": train, "clip_loss": "bce"}, losses.clip_bce),
        ({}, losses.clip_bce),
    ):
        found, _ = weak.task(small("weak", **settings)).objective(None, heard, labels)
        assert found == loss(logits, labels["clip_labels"])[0], settings


@pytest.mark.parametrize("model", ["tiny_fpasst", "tiny_asit"])
def test_the_recipe_is_one_program_on_eight_devices(model):
    config = recipe.get_config(f"model={model},batch=8,logits=somewhere").to_dict()
    mesh = sharding.make_mesh(**config["mesh"], devices=jax.devices())
    assert mesh.size == 8
    program, (state, batch, key) = plan_step.build(config, 527, mesh)
    assert batch["clip_teacher"].shape == (8, 527)
    lowered = program.train_step.lower(state, batch, key)
    new_state, measurements = lowered.out_info
    assert {"label_bce", "teacher_bce", "loss"} <= measurements.keys()
    assert jax.tree.structure(new_state) == jax.tree.structure(state)


def test_a_loss_that_does_not_fit_is_refused(small, scenes, tmp_path):
    with pytest.raises(InputError, match="may have several: use clip_loss=bce"):
        weak.task(small("weak", clip_loss="ce"))
    with pytest.raises(InputError, match="did you mean 'bce'"):
        weak.task(small("weak", clip_loss="bcee"))
    single = with_one_label(scenes / "prepared" / "eval", tmp_path / "eval")
    taught = {"data.train": single, "teacher.logits": "somewhere"}
    with pytest.raises(InputError, match="clip_loss=ce has no teachers"):
        weak.task(small("weak", **taught))
    assert weak.task(small("weak", clip_loss="bce", **taught)).targets == "clip"
    # What is not prepared yet is taken for several labels, as for a plan.
    assert weak.task(small("weak", **{"data.train": str(tmp_path / "none")}))
