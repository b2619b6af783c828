import json
from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.stages.grid_cells import expand
from jaxsed.stages.selection import Criterion, at_the_edge, by_setting, choose
from tests.test_stages.test_grid_cells import BASE, SELECT, grid

PSDS, ER = Criterion("psds1"), Criterion("segment_1s_er")


def cells(rates=(1e-4, 3e-4), seeds=(0, 1)):
    axes = {"optim": {"max_lr": rates}, "seed": seeds}
    return expand(grid(axes=axes), Path("w"))


def scored(*values):
    return {cell.name: value for cell, value in zip(cells(), values)}


def test_the_best_mean_is_chosen_not_the_best_run():
    scores = scored(0.9, 0.6, 0.1, 0.6)
    found = by_setting(cells(), scores)
    assert found["max_lr_0.0001"].mean == pytest.approx(0.5)
    assert choose(found, PSDS) == "max_lr_0.0003"
    assert choose(found, ER) == "max_lr_0.0001"


def test_a_setting_with_a_run_without_score_is_out():
    scores = scored(0.9, 0.6, 0.9, 0.6)
    del scores["max_lr_0.0001/seed_1"]
    assert choose(by_setting(cells(), scores), PSDS) == "max_lr_0.0003"
    with pytest.raises(InputError, match="every one has a run without psds1"):
        choose(by_setting(cells(), {}), PSDS)


def test_of_equal_settings_the_first_is_chosen():
    assert choose(by_setting(cells(), scored(1, 1, 1, 1)), ER) == "max_lr_0.0001"


@pytest.mark.parametrize(
    "evaluation, metric, expected",
    [
        ("last", "psds1", 0.2),
        ("best", "psds1", 0.5),
        ("best", "segment_1s_er", 0.7),
        ("last", "segment_1s_er", None),
    ],
)
def test_score_of_a_run(tmp_path, evaluation, metric, expected):
    lines = [
        {"step": 0, "eval/psds1": 0.1, "eval/segment_1s_er": 0.9},
        {"step": 1, "train/loss": 9.0},
        {"step": 2, "eval/psds1": 0.5, "eval/segment_1s_er": 0.7},
        {"step": 2, "average/psds1": 0.2, "average/segment_1s_er": None},
        {"step": 2, "done": True},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text)
    assert Criterion(metric, evaluation).score(tmp_path) == expected


def test_criterion_of_a_config():
    base = {**BASE, "eval": {"metrics": ("psds1", "segment_1s_er")}}
    config = {"base": base, "select": SELECT}
    assert Criterion.of(config) == PSDS
    assert Criterion.of({**config, "select": {**SELECT, "metric": ER.metric}}) == ER
    for odd in ({"metric": "psds2"}, {"evaluation": "first"}):
        with pytest.raises(InputError, match=f"unknown select.{next(iter(odd))}"):
            Criterion.of({**config, "select": {**SELECT, **odd}})


def test_edges_of_the_grid():
    three = cells(rates=(1e-4, 3e-4, 1e-3))
    assert at_the_edge(three, "max_lr_0.001") == ["optim.max_lr"]
    assert at_the_edge(three, "max_lr_0.0003") == []
    assert at_the_edge(cells(), "max_lr_0.0003") == []
