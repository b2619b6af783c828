import json
from pathlib import Path

import numpy as np
import pytest

import jaxsed
from jaxsed.audio.decode import load_mono
from jaxsed.data.records import PreparedData
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import ensemble, strong
from jaxsed.training.logs import read_metrics


@pytest.fixture(scope="module")
def config(small, teachers):
    return {
        "stage": "ensemble",
        "teachers": teachers,
        "data": {name: small()["data"][name] for name in ("train", "eval", "clip_seconds")},
        "batch_size": 8,
        "eval": {"metrics": ("psds1_macro",), "median_seconds": 0.48},
        "mesh": {"data": -1, "fsdp": 1},
    }


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "ensemble"
    ensemble.run(config, workdir)
    return workdir


def test_stored_logits_are_the_mean_of_what_the_teachers_say(finished, config):
    data = PreparedData(config["data"]["train"])
    store = TeacherLogits(finished / "logits")
    clip = 3
    wave = load_mono(data.audio_bytes(clip), 16000)[None]
    both = [
        jaxsed.load(folder).logits(wave)[0] for folder in config["teachers"].values()
    ]
    assert np.abs(both[0] - both[1]).max() > 0.05
    found = store.get(data.ids[clip]).astype(np.float32)
    np.testing.assert_allclose(found, np.mean(both, axis=0), atol=5e-3)
    assert store.coverage(data.ids)["exact"] == len(data)


def test_ensemble_is_evaluated_once(finished, config):
    lines = read_metrics(finished / "metrics.jsonl")
    assert 0 <= lines[0]["eval/psds1_macro"] <= 1
    assert lines[-1]["done"]
    ensemble.run(config, finished)
    assert read_metrics(finished / "metrics.jsonl") == lines


def test_stopped_within_a_teacher_it_goes_on_to_the_same_bytes(
    finished, config, tmp_path
):
    data = PreparedData(config["data"]["train"])
    detector = jaxsed.load(config["teachers"]["t1"])
    with TeacherLogitsWriter(
        tmp_path / "logits", data.ids, 250, detector.vocabulary
    ) as writer:
        rows = np.arange(5)
        writer.add("t1", rows, np.zeros((5, 250, len(detector.labels)), np.float32))
        # Those five were not t1's logits; batch 0 is computed again from its start.
        writer._done[0] = False
    ensemble.run(config, tmp_path)
    for name in ("logits", "eval_logits"):
        ours, theirs = (
            {p.name: p.read_bytes() for p in (folder / name).glob("*.f16")}
            for folder in (tmp_path, finished)
        )
        assert ours == theirs and ours


def test_student_learns_from_the_store(finished, small, tmp_path):
    changes = {"teacher.logits": str(finished / "logits"), "teacher.weight": 0.5}
    strong.run(small(**changes), tmp_path / "student")
    line = read_metrics(tmp_path / "student" / "metrics.jsonl")[1]
    assert line["train/teacher_part"] == 1.0
    mean = (line["train/label_bce"] + line["train/teacher_bce"]) / 2
    assert line["train/loss"] == pytest.approx(mean, rel=1e-5)


def test_teachers_with_other_classes_are_refused(config, tmp_path):
    other = Vocabulary("other", ("Bark", "Meow"))
    folder = tmp_path / "other"
    folder.mkdir()
    source = Path(config["teachers"]["t1"])
    description = json.loads((source / "model.json").read_text())
    description["vocabulary"] = other.to_json()
    (folder / "model.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match="different class lists"):
        ensemble.common_vocabulary(config["teachers"] | {"odd": str(folder)})
    with pytest.raises(InputError, match="teachers is empty"):
        ensemble.common_vocabulary({})
