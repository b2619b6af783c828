import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import jaxsed
from configs import common
from jaxsed.audio.decode import load_mono
from jaxsed.data.records import PreparedData
from jaxsed.data.slices import Slices
from jaxsed.data.teacher_logits import TeacherLogits
from jaxsed.data.teacher_shard import TeacherShard
from jaxsed.data.teacher_writer import TeacherLogitsWriter
from jaxsed.errors import InputError
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import ensemble, strong
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files
from tests.test_data.fakes import N_CLASSES, VOCABULARY
from tests.test_stages.recordings import N_FRAMES, Recordings


@pytest.fixture(scope="module")
def config(small, teachers):
    """16 training clips in two shards, one of two batches; 8 clips to evaluate."""
    config = common.ensemble(teachers)
    config.data.train = small()["data"]["train"]
    config.data.eval = small()["data"]["eval"]
    config.update({"batch_size": 8, "shard_clips": 12})
    config.eval.metrics = ("psds1_macro",)
    return config.to_dict()


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "ensemble"
    ensemble.run(config, workdir)
    return workdir


def stored(workdir):
    """Content of every file of both stores."""
    return {
        str(file.relative_to(workdir)): file.read_bytes()
        for name in ("logits", "eval_logits")
        for file in sorted((workdir / name).rglob("*"))
        if file.is_file()
    }


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
    names = [name for name in stored(finished) if name.startswith("logits/logits-")]
    assert len(names) == 4


def test_ensemble_is_evaluated_once(finished, config):
    lines = read_metrics(finished / "metrics.jsonl")
    assert 0 <= lines[0]["eval/psds1_macro"] <= 1
    assert lines[-1]["done"]
    ensemble.run(config, finished)
    assert read_metrics(finished / "metrics.jsonl") == lines


class Stopped(Exception):
    """Where a kill would be."""


@pytest.mark.parametrize("n_writes", [1, 3])
def test_stopped_and_with_one_teacher_at_a_time_it_ends_with_the_same_bytes(
    finished, config, tmp_path, monkeypatch, n_writes
):
    config = {**config, "teachers_at_once": 1}
    write, left = TeacherShard.write, n_writes

    def stopping(shard, sums):
        nonlocal left
        if not left:
            raise Stopped
        left -= 1
        write(shard, sums)

    with monkeypatch.context() as patch:
        patch.setattr(TeacherShard, "write", stopping)
        with pytest.raises(Stopped):
            ensemble.run(config, tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()
    if n_writes == 3:  # the rest on its own in the other way
        shutil.rmtree(tmp_path / "scores", ignore_errors=True)
        (tmp_path / "config.json").unlink()
        config["teachers_at_once"] = 0
    ensemble.run(config, tmp_path)
    assert stored(tmp_path) == stored(finished)
    lines = [read_metrics(path / "metrics.jsonl") for path in (tmp_path, finished)]
    assert lines[0] == lines[1]


@pytest.mark.parametrize("count", [3])
def test_independent_parts_make_the_same_store(
    finished, config, tmp_path, count, capfd
):
    for index in reversed(range(count)):
        assert not (tmp_path / "metrics.jsonl").exists()
        ensemble.run({**config, "part": f"{index}/{count}"}, tmp_path)
    assert (
        f"part {count - 1}/{count} is done; other parts have" in capfd.readouterr().err
    )
    assert stored(tmp_path) == stored(finished)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["done"]


def test_a_shard_that_was_lost_later_is_computed_again(
    finished, config, tmp_path, monkeypatch
):
    shutil.copytree(finished, tmp_path / "copy")
    (tmp_path / "copy" / ".lock").unlink(missing_ok=True)
    (tmp_path / "copy" / "logits" / "logits-00001.f16").unlink()
    n_written = 0
    write = TeacherShard.write

    def counting(shard, sums):
        nonlocal n_written
        n_written += len(sums)
        write(shard, sums)

    monkeypatch.setattr(TeacherShard, "write", counting)
    ensemble.run(config, tmp_path / "copy")
    assert n_written == 4
    assert stored(tmp_path / "copy") == stored(finished)


def test_a_clip_is_decoded_once_and_a_teacher_loaded_once(
    finished, config, tmp_path, monkeypatch
):
    decoded, loaded = [], []
    audio_bytes, load_model = PreparedData.audio_bytes, files.load_model
    monkeypatch.setattr(
        PreparedData, "audio_bytes", lambda d, i: decoded.append(i) or audio_bytes(d, i)
    )
    monkeypatch.setattr(
        files, "load_model", lambda folder: loaded.append(folder) or load_model(folder)
    )
    ensemble.run(config, tmp_path)
    # 8 + 4 and 4 clips, each filled up to whole batches of 8, and 8 to evaluate.
    assert len(decoded) == 8 + 8 + 8 + 8
    assert sorted(set(decoded)) == list(range(16))
    assert sorted(map(str, loaded)) == sorted(config["teachers"].values())


def test_student_learns_from_the_store(finished, small, tmp_path):
    changes = {"teacher.logits": str(finished / "logits"), "teacher.weight": 0.5}
    strong.run(small(**changes), tmp_path / "student")
    line = read_metrics(tmp_path / "student" / "metrics.jsonl")[1]
    assert line["train/teacher_part"] == 1.0
    mean = (line["train/label_bce"] + line["train/teacher_bce"]) / 2
    assert line["train/loss"] == pytest.approx(mean, rel=1e-5)


def changed_teacher(folder, source, change):
    """A copy of a model folder with another description."""
    folder.mkdir()
    description = json.loads((Path(source) / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(description | change))
    return str(folder)


def test_teachers_that_do_not_fit_are_refused_before_any_work(config, tmp_path):
    other = Vocabulary("other", ("Bark", "Meow")).to_json()
    odd = changed_teacher(
        tmp_path / "odd", config["teachers"]["t1"], {"vocabulary": other}
    )
    known = config["teachers"]
    for given, data, message in (
        (known | {"odd": odd}, {}, "'odd' and 't1' have different class lists"),
        ({"odd": odd}, {}, "teachers know the 2 classes of other, data.train"),
        (known | {"gone": "runs/gone/model"}, {}, "teacher 'gone': .*no such model"),
        (known, {"clip_seconds": 11.0}, r"teacher 't1': data\.clip_seconds=11"),
        ({}, {}, "teachers is empty"),
    ):
        changed = {**config, "teachers": given, "data": config["data"] | data}
        workdir = tmp_path / "run"
        with pytest.raises(InputError, match=message):
            ensemble.run(changed, workdir)
        assert not (workdir / "logits").exists()
        shutil.rmtree(workdir)


def test_a_teacher_trained_anew_is_refused(finished, config, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").unlink()
    change = {"parameters_sha256": "0" * 64}
    anew = changed_teacher(tmp_path / "t1", config["teachers"]["t1"], change)
    given = {**config, "teachers": config["teachers"] | {"t1": anew}}
    (tmp_path / "run" / "config.json").unlink()
    with pytest.raises(
        InputError, match=r"logits was begun with other teachers \(t1\)"
    ):
        ensemble.run(given, tmp_path / "run")


def test_a_teacher_that_gives_nan_is_named(config, tmp_path):
    params, description = files.load_model(config["teachers"]["t2"])
    params["strong_head"]["bias"] = np.full_like(params["strong_head"]["bias"], np.nan)
    files.save_model(tmp_path / "t2", params, description)
    broken = {**config, "teachers": config["teachers"] | {"t2": str(tmp_path / "t2")}}
    with pytest.raises(InputError, match=r"teacher 't2' gives NaN .* clip '"):
        ensemble.run(broken, tmp_path / "run")
    assert not list((tmp_path / "run" / "logits").glob("*.f16"))


def test_a_disk_that_is_too_small_is_refused_before_any_work(
    config, tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10**5))
    with pytest.raises(InputError, match=r"needs 0\.\d GB more, its disk has 0\.0 GB"):
        ensemble.run(config, tmp_path)
    assert not list((tmp_path / "logits").glob("in_progress/*"))


@pytest.mark.parametrize("part", ["3", "2/2", "-1/2", "a/b", "0/0"])
def test_parts_that_are_none_are_refused(config, tmp_path, part):
    with pytest.raises(InputError, match=f"part={part}: expected INDEX/COUNT"):
        ensemble.run({**config, "part": part}, tmp_path)


@pytest.mark.parametrize("targets", ["frames", "clip"])
def test_logits_of_long_recordings_slices_are_put_together(targets, tmp_path):
    data = Recordings()
    slices = Slices(data, 10.0)
    n_frames = 250 if targets == "frames" else 1
    folder, sha = tmp_path / ensemble.EVAL_LOGITS, {"a teacher": "its sha256"}
    with (
        TeacherLogitsWriter(
            folder,
            data.ids.tolist(),
            n_frames,
            VOCABULARY,
            sha,
            shard_clips=100,
            slices=slices.rows,
        ) as writer,
        writer.open_shard(0) as shard,
    ):
        shard.begin(1, len(slices))
        nth = np.arange(len(slices), dtype=np.float16)[:, None, None]
        shard.write(np.broadcast_to(nth, (len(slices), n_frames, N_CLASSES)))
        shard.end()
    metrics = ("pauroc",) if targets == "frames" else ("map",)
    evaluation = {"metrics": metrics, "median_seconds": 0.0}
    config = {"targets": targets, "teachers": {"a teacher": ""}, "eval": evaluation}
    ensemble._evaluate(config, tmp_path, slices)
    scores = ScoreStore(tmp_path / "scores")
    # Slices: one of clip 0, three of clip 1, one of clip 2, two of clip 3.
    if targets == "frames":
        assert scores.n_frames.tolist() == N_FRAMES
        frames = [*[1] * 250, *[2] * 250, *[3] * 108]
        np.testing.assert_array_equal(scores.logits[1][:, 0], frames)
    else:
        mean = (1 * 250 + 2 * 250 + 3 * 108) / 608
        np.testing.assert_allclose(scores.logits[:, 0, 0], [0, mean, 4, 5.5], rtol=1e-3)
