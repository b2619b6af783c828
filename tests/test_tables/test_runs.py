import json
import re

import pytest

from jaxsed.tables.runs import Finder
from tests.test_tables import made_up
from tests.test_tables.made_up import CONFIG, grid, training, write


def found_in(*folders):
    finder = Finder()
    for folder in folders:
        finder.visit(folder)
    return finder.runs, {path.name: why for path, why in finder.unusable.items()}


def test_a_training(tmp_path):
    training(tmp_path / "r", {"psds1_macro": 0.4, "pauroc": None}, seed=3)
    ((run,), unusable) = found_in(tmp_path / "r")
    assert (run.seed, run.fold, run.data, run.metric) == (
        3,
        "",
        "validation",
        "psds1_macro",
    )
    assert run.scores == {"psds1_macro": 0.4, "pauroc": None}
    assert run.settings["model.encoder"] == "beats" and not unusable


def test_a_grid_stands_for_its_selected_runs_on_test_data(tmp_path):
    grid(tmp_path / "g", {("fold0", 0): 0.5, ("fold1", 0): 0.7})
    runs, _ = found_in(tmp_path / "g")
    assert [(run.fold, run.scores, run.data) for run in runs] == [
        ("fold0", {"psds1_macro": 0.5}, "test"),
        ("fold1", {"psds1_macro": 0.7}, "test"),
    ]
    assert "optim.max_lr" not in runs[0].settings  # tuned
    assert {run.settings["data.eval"] for run in runs} == {"t"}
    grid(tmp_path / "u", {("", 0): 0.5}, tested=False)
    ((run,), _) = found_in(tmp_path / "u")
    assert (run.data, run.scores) == ("validation", {"psds1_macro": 0.25})
    assert run.settings["data.eval"] == CONFIG["data"]["eval"]


def test_phases_are_one_run_and_links_of_a_chain_are_several(tmp_path):
    links = {
        f"phase{k}_c{c}": {**CONFIG, "model": {"encoder": "ast", "compression": name}}
        for k, (c, name) in enumerate([(2, "fshift-2"), (1, "none")], start=1)
    }
    phases = {"stage": "chain", "order": list(links), "links": links}
    write(tmp_path / "phases", phases, {"psds1_macro": 0.3})
    ((run,), _) = found_in(tmp_path / "phases")
    assert run.settings["phases"] == ["fshift-2", "none"]
    assert run.settings["model.encoder"] == "ast"
    (tmp_path / "phases" / "metrics.jsonl").unlink()
    assert found_in(tmp_path / "phases") == (
        [],
        {"phases": "its phases are not finished"},
    )
    order = ["scenes", "a", "b"]
    stages = {"scenes": {"stage": "scenes"}, "a": CONFIG, "b": CONFIG}
    chain = tmp_path / "chain"
    chain.mkdir()
    chain_config = {"stage": "chain", "order": order, "links": stages}
    (chain / "config.json").write_text(json.dumps(chain_config))
    training(chain / "a", {"psds1_macro": 0.1})
    training(chain / "b", {"psds1_macro": 0.2})
    assert [run.folder.name for run in found_in(chain)[0]] == ["a", "b"]


def test_a_test_and_an_ensemble(tmp_path):
    config = {"stage": "test", "model": "m", "eval": {"metrics": ["map"]}}
    write(tmp_path / "t", config, {"map": 0.5}, prefix="test")
    config = {"stage": "ensemble", "eval": {"metrics": ["psds1"]}}
    write(tmp_path / "e", config, {"psds1": 0.5})
    runs, _ = found_in(tmp_path / "t", tmp_path / "e")
    assert [(run.data, run.metric, run.seed) for run in runs] == [
        ("test", "map", None),
        ("validation", "psds1", None),
    ]


def test_a_test_is_of_the_training_that_left_its_model(tmp_path):
    training(tmp_path / "r", {"psds1_macro": 0.4}, seed=3, eval__threshold=0.1)
    config = {
        "stage": "test",
        "model": str(tmp_path / "r" / "model"),
        "data": {"eval": "d/test"},
        "eval": {"metrics": ["map"]},
    }
    write(tmp_path / "t", config, {"map": 0.5}, prefix="test")
    ((run,), _) = found_in(tmp_path / "t")
    assert (run.seed, run.data, run.metric) == (3, "test", "map")
    assert run.settings["model.encoder"] == "beats"
    assert run.settings["data.eval"] == "d/test"
    assert "eval.threshold" not in run.settings


@pytest.mark.parametrize("stage", ["phases", "chain"])
def test_what_a_grid_tuned_in_a_pipeline_makes_no_row(tmp_path, stage):
    grid(tmp_path / "g", {("", 0): 0.5})
    path = tmp_path / "g" / "config.json"
    config = json.loads(path.read_text())
    base, axes = config["base"], config["axes"]
    if stage == "phases":
        config["base"] = {"stage": "phases", "training": base, "factors": [2, 1]}
        config["axes"] = {"training": axes}
    else:
        config["base"] = {"stage": "chain", "order": ["a"], "links": {"a": base}}
        config["base"]["links"]["a"]["model"]["compression"] = "none"
        config["axes"] = {"links": {"a": axes}}
    path.write_text(json.dumps(config))
    ((run,), _) = found_in(tmp_path / "g")
    assert "optim.max_lr" not in run.settings


def test_folders_of_folders_are_searched_and_each_run_counts_once(tmp_path):
    for seed in (0, 1):
        training(tmp_path / "a" / f"seed_{seed}", {"psds1_macro": 0.1}, seed=seed)
    runs, unusable = found_in(tmp_path, tmp_path / "a", tmp_path / "a" / "seed_0")
    assert [run.folder.name for run in runs] == ["seed_0", "seed_1"] and not unusable


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (lambda r: (r / "config.json").write_text("{"), "config.json is damaged"),
        (lambda r: (r / "config.json").write_text("[1]"), "config.json is damaged"),
        (
            lambda r: (r / "config.json").write_text('{"a": 1}'),
            "config.json is damaged",
        ),
        (lambda r: (r / "config.json").unlink(), "no run is in it"),
        (lambda r: (r / "metrics.jsonl").unlink(), "it is not finished"),
        (lambda r: (r / "metrics.jsonl").write_text("\0\0"), "it is not finished"),
        (
            lambda r: write(r, CONFIG, {"map": 1}, done=False),
            r"not finished \(step 5 of 10",
        ),
        (lambda r: write(r, CONFIG, {}), "it was never evaluated"),
    ],
)
def test_what_gives_no_run_is_named_with_the_reason(tmp_path, spoil, expected):
    training(tmp_path / "good", {"psds1_macro": 0.1})
    training(tmp_path / "odd", {"psds1_macro": 0.1})
    spoil(tmp_path / "odd")
    runs, unusable = found_in(tmp_path / "odd", tmp_path / "good", tmp_path / "none")
    assert [run.folder.name for run in runs] == ["good"]
    assert unusable.keys() == {"odd", "none"}
    assert unusable["none"] == "there is no such folder"
    assert re.search(expected, unusable["odd"])


@pytest.mark.parametrize("text, expected", [(None, "no grid.json"), ("{}", "damaged")])
def test_an_unfinished_or_damaged_grid(tmp_path, text, expected):
    made_up.grid(tmp_path / "g", {("", 0): 0.5})
    path = tmp_path / "g" / "grid.json"
    path.unlink() if text is None else path.write_text(text)
    runs, unusable = found_in(tmp_path / "g")
    assert not runs and expected in unusable["g"]
