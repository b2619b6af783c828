import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsed
from jaxsed.augment import pipeline as augment
from jaxsed.errors import InputError
from jaxsed.stages import phases, strong
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files

STAGES = {"strong": strong.run}
NAMES = ("phase1_c2", "phase2_c1")


def config_of(small, **changes):
    changes = {"eval.metrics": ("map",), "prior_bias": True, **changes}
    return phases.in_phases(small(**changes), "fshift", (2, 1), (2, 2))


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory):
    """The folder of a finished training in two phases."""
    workdir = tmp_path_factory.mktemp("phases") / "whole"
    phases.run(config_of(small), workdir, STAGES)
    return workdir


def test_lengths_are_the_papers():
    assert phases.lengths(20, 2) == (5, 15)
    assert phases.lengths(20, 3) == (3, 3, 14)
    assert phases.lengths(5, 2) == (1, 4)
    assert phases.lengths(7, 1) == (7,)
    with pytest.raises(InputError, match="a training of 2 cannot be split into 3"):
        phases.lengths(2, 3)


def test_factors_are_read():
    assert phases.read_factors("4-2-1") == (4, 2, 1)
    assert phases.read_factors("1-1") == (1, 1)
    for wrong in ("", "1-2", "4-0", "4,1", "4-x"):
        with pytest.raises(InputError, match=f"phases={wrong}: expected falling"):
            phases.read_factors(wrong)


def test_a_phase_has_weights_and_length_of_its_own_and_all_else_in_common(small):
    until = {"metric": "eval/map", "value": 0.4}
    training = small("weak", init="start", prior_bias=True, seed=3, until=until)
    config = phases.in_phases(training, "patch_pi", (4, 2, 1), (30, 20, 10))
    chain = phases.as_chain(config)
    assert chain["order"] == ("phase1_c4", "phase2_c2", "phase3_c1")
    links = [chain["links"][name] for name in chain["order"]]
    assert [link["steps"] for link in links] == [30, 20, 10]
    compressions = [link["model"]["compression"] for link in links]
    assert compressions == ["patch_pi-4", "patch_pi-2", "none"]
    starts = [(link["init"], link["carry"], link["prior_bias"]) for link in links]
    assert starts == [
        ("start", "encoder", True),
        ("@/phase1_c4/model", "all", False),
        ("@/phase2_c2/model", "all", False),
    ]
    assert [link["until"]["metric"] for link in links] == ["", "", "eval/map"]
    assert len({link["seed"] for link in links}) == 3
    own = ("steps", "model", "init", "carry", "prior_bias", "until", "seed")
    for link in links:
        for key in training.keys() - set(own):
            assert link[key] == training[key], key
    assert training["steps"] == 2 and training["seed"] == 3  # not changed itself


def test_steps_for_each_phase_are_asked_for(small):
    config = phases.in_phases(small(), "fshift", (4, 1), (5,))
    with pytest.raises(InputError, match=r"steps=\(5,\): expected one .* phases 4-1"):
        phases.as_chain(config)


def test_what_later_phases_would_refuse_is_checked_before_the_first(small, tmp_path):
    config = config_of(small, until={"metric": "eval/mpa", "value": 0.5})
    with pytest.raises(InputError, match=r"until\.metric 'eval/mpa': did you mean"):
        phases.run(config, tmp_path / "run", STAGES)
    swin = {"model.encoder": "tiny_htsat", "model.head": "token_semantic"}
    config = phases.in_phases(small(**swin), "fshift", (4, 3, 1), (2, 2, 2))
    with pytest.raises(InputError, match="compression=fshift-3: HTS-AT's image"):
        phases.run(config, tmp_path / "run", STAGES)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("mask", ["time_mask", "specaugment"])
def test_masks_hide_the_same_seconds_in_every_phase(mask):
    settings = {f"{mask}_probability": 1.0, "specaugment_frequency_masks": 0}

    def hidden(n_frames):
        labels = jnp.ones((64, 250, 1))
        batch = {"mel": jnp.ones((64, n_frames, 2)), "labels": labels}
        masked = augment.augment_mel(jax.random.key(0), batch, settings)["mel"]
        return 1 - masked[..., 0].mean(axis=1)  # part of each clip

    coarse, fine = hidden(250), hidden(1000)
    assert fine.std() > 0.03
    np.testing.assert_allclose(coarse, fine, rtol=0, atol=1 / 250)


def test_phases_say_what_they_cost(whole, small, caplog):
    (whole / "metrics.jsonl").unlink()  # as if killed before the last step
    with caplog.at_level("INFO"):
        phases.run(config_of(small), whole, STAGES)
    (said,) = (record.message for record in caplog.records if "TFLOP" in record.message)
    number = r"[\d.e-]+ TFLOP forward, \d+ s"
    assert re.fullmatch(
        f"{re.escape(str(whole))}: phase1_c2 {number}; phase2_c1 {number}; all {number}",
        said,
    )


def test_phases_leave_what_a_training_leaves(whole):
    lines = read_metrics(whole / "metrics.jsonl")
    assert lines[-1] == {"step": 4, "done": True, "phase": 2}
    assert [line for line in lines if line.get("done")] == lines[-1:]
    evaluated = [(m["phase"], m["step"]) for m in lines if "eval/map" in m]
    assert evaluated == [(1, 0), (1, 2), (2, 2), (2, 4)]
    detector = jaxsed.load(whole / "model")
    of_phases = detector.description["provenance"]["phases"]
    assert [(p["compression"], p["steps"]) for p in of_phases] == [
        ("fshift-2", 2),
        ("none", 2),
    ]
    last = files.load_model(whole / NAMES[1] / "model")[0]
    found = files.load_model(whole / "model")[0]
    jax.tree.map(np.testing.assert_array_equal, found, last)


def test_a_phase_starts_with_the_weights_of_the_one_before(whole, small, tmp_path):
    config = config_of(small)
    link = dict(phases.as_chain(config)["links"][NAMES[1]])
    link["init"] = str(whole / NAMES[0] / "model")
    link["until"] = {"metric": "eval/map", "value": -1.0}
    strong.run(link, tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl")[-1] == {
        "step": 0,
        "done": True,
        "until/passed": True,
    }
    coarse, start = (
        files.load_model(d / "model")[0] for d in (whole / NAMES[0], tmp_path)
    )
    for part in ("strong_head", "weak_head"):
        jax.tree.map(np.testing.assert_array_equal, start[part], coarse[part])
    blocks = [params["encoder"]["block_0"] for params in (coarse, start)]
    jax.tree.map(np.testing.assert_array_equal, *blocks)


def test_killed_phases_end_as_those_never_killed(whole, small, tmp_path):
    killed, first = tmp_path / "killed", Path(NAMES[0])
    saved = first / "checkpoints" / "1"
    shutil.copytree(whole / saved, killed / saved)
    lines = (whole / first / "metrics.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["step"] <= 1]
    (killed / first / "metrics.jsonl").write_text("".join(kept))
    phases.run(config_of(small), killed, STAGES)
    found, expected = (files.load_model(d / "model")[0] for d in (killed, whole))
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    clock = {"train/clips_per_second"}
    found, expected = (
        [{k: m[k] for k in m.keys() - clock} for m in read_metrics(d / "metrics.jsonl")]
        for d in (killed, whole)
    )
    assert found == expected


def test_finished_phases_are_left_alone(whole, small):
    def contents():
        return {p: p.stat().st_mtime_ns for p in whole.rglob("*") if p.is_file()}

    before = contents()
    phases.run(config_of(small), whole, STAGES)
    assert contents() == before
    with pytest.raises(InputError, match=r"another links\.phase1_c2\.optim\.max_lr"):
        phases.run(config_of(small, **{"optim.max_lr": 1.0}), whole, STAGES)
