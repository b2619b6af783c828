import json

import jax
import numpy as np
import pytest

import jaxsed
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages import strong, train
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "strong"
    config = small(prior_bias=True)
    strong.run(config, workdir)
    return workdir, config


def test_a_run_leaves_what_the_contract_names(finished):
    workdir, config = finished
    lines = read_metrics(workdir / "metrics.jsonl")
    assert lines[-1] == {"step": 2, "done": True}
    assert [m["step"] for m in lines if "eval/psds1_macro" in m] == [0, 2]
    assert (workdir / "checkpoints" / "2").is_dir()
    assert json.loads((workdir / "config.json").read_text())["steps"] == 2
    detector = jaxsed.load(workdir / "model")
    data = PreparedData(config["data"]["train"])
    assert detector.labels == data.vocabulary.names
    wave = np.zeros((1, 160000), np.float32)
    assert detector.logits(wave).shape == (1, 250, len(detector.labels))
    assert detector.description["provenance"]["train_manifest"] == data.manifest_hash


def test_a_finished_run_is_left_alone(finished):
    workdir, config = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    strong.run(config, workdir)
    after = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    assert before == after


def test_another_config_in_the_same_folder_is_refused(finished, small):
    workdir, _ = finished
    with pytest.raises(InputError, match=r"another optim\.max_lr, prior_bias"):
        strong.run(small(**{"optim.max_lr": 1.0}), workdir)


def test_start_takes_the_encoder_and_leaves_heads_fresh(finished):
    workdir, _ = finished
    loaded, _ = files.load_model(workdir / "model")
    model = sed.build("tiny_atst_frame", loaded["strong_head"]["bias"].shape[0])
    abstract = jax.eval_shape(lambda: train.init_params(model, jax.random.key(0)))
    scratch = train.start_params(model, abstract, 0, "")
    started = train.start_params(model, abstract, 0, str(workdir / "model"))
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], loaded["encoder"])
    head = ("strong_head", "kernel")
    np.testing.assert_array_equal(started[head[0]][head[1]], scratch[head[0]][head[1]])
    assert np.any(started[head[0]][head[1]] != loaded[head[0]][head[1]])


def test_start_refuses_another_encoder(finished):
    workdir, _ = finished
    model = sed.build("tiny_fpasst", 20)
    abstract = jax.eval_shape(lambda: train.init_params(model, jax.random.key(0)))
    with pytest.raises(InputError, match="holds the encoder tiny_atst_frame"):
        train.start_params(model, abstract, 0, str(workdir / "model"))


def test_prior_makes_an_untrained_head_predict_how_common_classes_are(small):
    data = PreparedData(small()["data"]["train"])
    c = len(data.vocabulary)
    heads = {"kernel": np.zeros((4, c)), "bias": np.zeros(c)}
    params = train.with_prior({"strong_head": heads, "weak_head": heads}, data)
    found = jax.nn.sigmoid(params["strong_head"]["bias"])
    expected = data.active_seconds().sum(0) / data.durations.sum()
    np.testing.assert_allclose(found, np.clip(expected, 1e-4, 0.5), rtol=1e-4)
    clips = (data.active_seconds() > 0).mean(0)
    found = jax.nn.sigmoid(params["weak_head"]["bias"])
    np.testing.assert_allclose(found, np.clip(clips, 1e-4, 0.5), rtol=1e-4)


def test_batch_must_fit_the_devices(small, tmp_path):
    with pytest.raises(InputError, match="batch_size=9"):
        strong.run(small(batch_size=9), tmp_path)
