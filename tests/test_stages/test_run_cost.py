import json

import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.operations import Operations
from jaxsed.stages import chain, phases, pretrain, run_cost
from jaxsed.stages.cost import clip_operations

PER_CLIP = Operations(products=4 * 10**9)


def write_run(folder, config, lines=()):
    """What a training leaves; lines are (step, clips per second)."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    metrics = [{"step": step, run_cost.RATE: rate} for step, rate in lines]
    if lines:
        metrics.insert(1, {"step": lines[0][0], "eval/map": 0.5})
    text = "".join(json.dumps(line) + "\n" for line in metrics)
    (folder / "metrics.jsonl").write_text(text)


@pytest.fixture
def counted(monkeypatch):
    """What is counted, without counting: `(compression, targets, seconds)`."""
    calls = []

    def count(model, targets, seconds, **options):
        calls.append((str(model.compression), targets, seconds))
        return PER_CLIP

    monkeypatch.setattr(run_cost, "clip_operations", count)
    return calls


def test_clips_and_seconds(small, tmp_path, counted):
    write_run(tmp_path / "run", small("weak"), [(2, 4.0), (5, 8.0)])
    (cost,) = run_cost.of_run(tmp_path / "run")
    assert (cost.name, cost.compression, cost.clips) == ("", "none", 5 * 8)
    assert cost.seconds == 2 * 8 / 4 + 3 * 8 / 8
    assert cost.gflops == 40 * 8.0
    assert counted == [("none", "clip", 10.0)]


def test_what_the_stage_looks_at_is_counted(small, tmp_path):
    config = small("strong", **{"data.clip_seconds": 2.0})
    write_run(tmp_path / "run", config)
    (cost,) = run_cost.of_run(tmp_path / "run")
    model = sed.build(n_classes=n_classes(config), **config["model"])
    assert cost.per_clip == clip_operations(model, "frames", 2.0)
    assert (cost.clips, cost.seconds, cost.gflops) == (0, 0, 0)


def test_steps_that_the_encoder_does_not_see_are_not_counted(small, tmp_path):
    names = {"model.encoder": "tiny_fpasst", "patchout": 0.3}
    write_run(tmp_path / "run", small("weak", **names))
    (cost,) = run_cost.of_run(tmp_path / "run")
    model = sed.build("tiny_fpasst", n_classes(small("weak")))
    whole, grid = clip_operations(model), model.encoder.grid
    seen = grid.prefix + grid.rows * (grid.steps - int(0.3 * grid.steps))
    tokens = grid.prefix + grid.rows * grid.steps
    assert cost.per_clip.scores * tokens**2 == whole.scores * seen**2
    assert 0.6 < cost.per_clip.total / whole.total < 0.8


def test_a_frozen_encoder_is_not_counted(small, tmp_path):
    config = small(mode="frozen")
    write_run(tmp_path / "run", config)
    (cost,) = run_cost.of_run(tmp_path / "run")
    width = sed.build(n_classes=1, **config["model"]).encoder.width
    assert cost.per_clip == Operations(products=250 * width * n_classes(config))


def n_classes(config):
    with open(f"{config['data']['train']}/manifest.json", encoding="utf-8") as file:
        return len(json.load(file)["classes"])


def test_phases_and_chains(small, tmp_path, counted):
    config = phases.in_phases(small(), "fshift", (4, 2, 1), (2, 2, 2))
    links = phases.as_chain(config)["links"]
    whole = tmp_path / "whole"
    pipeline = {"stage": "chain", "order": ["scenes", "train"], "links": {}}
    write_run(whole, pipeline)
    write_run(whole / "scenes", {"stage": "scenes"})
    write_run(whole / "train", config)
    for name in list(links)[:2]:  # the last has not begun
        write_run(whole / "train" / name, chain.resolve(links[name], whole), [(2, 4.0)])
    costs = run_cost.of_run(whole)
    assert [cost.name for cost in costs] == ["train/phase1_c4", "train/phase2_c2"]
    assert [cost.compression for cost in costs] == ["fshift-4", "fshift-2"]
    assert counted == [("fshift-4", "frames", 10.0), ("fshift-2", "frames", 10.0)]


def test_cells_of_a_grid(small, tmp_path, counted):
    grid = tmp_path / "grid"
    write_run(grid, {"stage": "grid", "base": small()})
    for seed, steps in ((0, 2), (1, 3)):
        cell = grid / "max_lr_0.1" / f"seed_{seed}"
        write_run(cell, small(seed=seed), [(steps, 4.0)])
    write_run(cell / "test", {"stage": "test"})
    (grid / "frames" / "abc").mkdir(parents=True)  # of a frozen encoder
    costs = run_cost.of_run(grid)
    assert [cost.name for cost in costs] == ["max_lr_0.1/seed_0", "max_lr_0.1/seed_1"]
    assert [cost.clips for cost in costs] == [2 * 8, 3 * 8]
    assert len(counted) == 1  # both clips cost the same


def test_pretraining_is_counted_with_what_it_hides(small, tmp_path, monkeypatch):
    monkeypatch.setattr(
        run_cost, "clip_operations", lambda *arguments, **options: options
    )
    names = {"model.encoder": "tiny_ssast", "model.head": "masked_patches"}
    config = small("pretrain", **names)
    config["pretext"] = dict(pretrain.DEFAULTS)
    write_run(tmp_path / "run", config)
    (cost,) = run_cost.of_run(tmp_path / "run")
    assert cost.per_clip["inputs"] == ("mel", "hidden")
    assert callable(cost.per_clip["draw"])


def test_what_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"config\.json cannot be read: is it the fol"):
        run_cost.of_run(tmp_path)
    for other in ({}, [1]):
        (tmp_path / "config.json").write_text(json.dumps(other))
        with pytest.raises(InputError, match=r"config\.json names no stage"):
            run_cost.of_run(tmp_path)
    write_run(tmp_path / "scenes", {"stage": "scenes"})
    with pytest.raises(InputError, match="scenes: no training has begun there"):
        run_cost.of_run(tmp_path / "scenes")
