import json
import os
import shutil
import signal
import time

import jax
import numpy as np
import pytest

import jaxsed
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.stages import strong, train, weak
from jaxsed.training import preemption
from jaxsed.training.logs import MetricsLog, read_metrics
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
    assert detector.postprocessing.median_seconds == config["eval"]["median_seconds"]
    described = detector.description["postprocess"]
    assert described == detector.postprocessing.to_json()


def test_a_finished_run_is_left_alone(finished):
    workdir, config = finished
    before = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    (workdir / "snapshots" / "2").mkdir(parents=True)  # killed before it removed them
    strong.run(config, workdir)
    assert not (workdir / "snapshots").exists()
    after = {p: p.stat().st_mtime_ns for p in workdir.rglob("*") if p.is_file()}
    assert before == after


def test_a_model_trained_on_frames_scores_clips_by_their_mean_frame(finished):
    params, description = files.load_model(finished[0] / "model")
    jax.tree.map(
        np.testing.assert_array_equal, params["weak_head"], params["strong_head"]
    )
    assert description["provenance"]["fresh"] == {}


def test_told_to_stop_while_its_start_is_gathered(small, tmp_path, monkeypatch):
    def gather(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(train, "gather", gather)
    # It may have begun long ago: nothing is said of steps.
    with pytest.raises(preemption.Stopped):
        strong.run(small(), tmp_path)


def test_another_config_in_the_same_folder_is_refused(finished, small):
    workdir, _ = finished
    with pytest.raises(InputError, match=r"another optim\.max_lr, prior_bias"):
        strong.run(small(**{"optim.max_lr": 1.0}), workdir)


def test_a_run_ends_with_the_model_that_passed(finished, small, tmp_path):
    workdir, _ = finished
    start = str(workdir / "model")
    until = {"until.metric": "eval/pauroc", "until.value": -1.0, "average.last": 2}
    strong.run(small(init=start, **until), tmp_path)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert lines[-1] == {"step": 0, "done": True, "until/passed": True}
    (before, _), (found, description) = (
        files.load_model(d / "model") for d in (workdir, tmp_path)
    )
    jax.tree.map(np.testing.assert_array_equal, found["encoder"], before["encoder"])
    assert description["provenance"]["steps"] == 0
    assert description["provenance"]["average"] is None  # it passed before


def test_a_metric_to_pass_must_be_one_that_is_computed(small, tmp_path):
    with pytest.raises(InputError, match="did you mean 'eval/pauroc'"):
        strong.run(small(**{"until.metric": "eval/pauroq"}), tmp_path)


def test_batch_must_fit_the_devices(small, tmp_path):
    with pytest.raises(InputError, match="batch_size=9"):
        strong.run(small(batch_size=9), tmp_path)


@pytest.fixture(scope="module")
def with_statistics(small, tmp_path_factory):
    """A finished run of an encoder with batch normalisation, and its config."""
    workdir = tmp_path_factory.mktemp("runs") / "frame_mn"
    config = small(**{"model.encoder": "tiny_frame_mn10"})
    strong.run(config, workdir)
    return workdir, config


def test_running_statistics_move_and_are_the_saved_models(with_statistics):
    workdir, _ = with_statistics
    params, _ = files.load_model(workdir / "model")
    norm = params["encoder"]["block_1"]["depthwise"]["norm"]
    assert np.all(norm["mean"] != 0) and np.all(norm["var"] != 1)
    # Two steps with momentum 0.01 leave 98 % of where they started.
    assert np.all(norm["var"] > 0.97)
    detector = jaxsed.load(workdir / "model")
    wave = np.random.default_rng(0).normal(size=(2, 160000)).astype(np.float32)
    alone, together = detector.logits(wave[:1]), detector.logits(wave)
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_a_resumed_run_has_the_running_statistics_of_one_never_stopped(
    with_statistics, tmp_path
):
    whole, config = with_statistics
    stopped = tmp_path / "stopped"
    shutil.copytree(whole / "checkpoints" / "1", stopped / "checkpoints" / "1")
    strong.run(config, stopped)
    logged = read_metrics(stopped / "metrics.jsonl")
    assert [m["step"] for m in logged if "train/loss" in m] == [2]
    expected, found = (files.load_model(d / "model")[0] for d in (whole, stopped))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_frozen_encoder_is_left_as_it_is_statistics_included(
    with_statistics, small, tmp_path
):
    start = with_statistics[0] / "model"
    changes = {"model.encoder": "tiny_frame_mn10", "init": str(start), "steps": 1}
    strong.run(small(**changes, **{"optim.frozen": ("^encoder/",)}), tmp_path)
    before, after = (files.load_model(d)[0] for d in (start, tmp_path / "model"))
    jax.tree.map(np.testing.assert_array_equal, after["encoder"], before["encoder"])


def test_labels_of_whole_clips_are_no_frame_labels(small, scenes, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(scenes / "prepared" / "train", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["annotation"] = "clips"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="training on frames needs the times"):
        strong.run(small(**{"data.train": str(folder)}), tmp_path / "strong")
    with pytest.raises(InputError, match="psds1"):
        weak.run(small("weak", **{"data.eval": str(folder)}), tmp_path / "weak")


def test_the_mean_is_evaluated_once_and_stops_at_once_when_told_to(tmp_path):
    asked, notice = [], preemption.Notice()

    def scorer(params):
        asked.append(params)
        if len(asked) == 1:
            notice._receive(None, None)
        return {"map": 0.5}

    log = MetricsLog(tmp_path)
    with pytest.raises(preemption.Preempted, match="after step 8 of 8, which is saved"):
        train.evaluate_mean(scorer, "mean", 8, log, notice)
    assert log.find(8, ("average/",)) == {}
    for _ in range(2):
        train.evaluate_mean(scorer, "mean", 8, log, preemption.Notice())
    assert asked == ["mean", "mean"]
    assert log.history("average/map") == [(8, 0.5)]
