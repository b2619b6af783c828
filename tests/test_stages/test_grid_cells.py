import re
from pathlib import Path

import pytest

from jaxsed.errors import InputError
from jaxsed.stages.grid_cells import expand, result_config, result_folder

BASE = {
    "stage": "strong",
    "seed": 7,
    "optim": {"max_lr": 1e-3, "name": "adam"},
    "data": {"train": "d/train", "eval": "d/valid"},
}
SELECT = {"metric": "", "evaluation": "last", "seeds": 0, "folds": 0}
FOLDS = {
    f"fold{k}": {"data": {"eval": f"d/f{k}"}, "test": f"d/f{(k + 1) % 2}"}
    for k in range(2)
}


def grid(base=BASE, axes=None, folds=None, test="", **select):
    return {
        "base": base,
        "axes": {"optim": {"max_lr": (1e-4, 3e-4)}, "seed": (0, 1)}
        if axes is None
        else axes,
        "folds": folds or {},
        "test": test,
        "select": {**SELECT, **select},
    }


def test_every_setting_is_run_once_before_any_is_repeated():
    cells = expand(grid(), Path("w"))
    assert [cell.name for cell in cells] == [
        "max_lr_0.0001/seed_0",
        "max_lr_0.0003/seed_0",
        "max_lr_0.0001/seed_1",
        "max_lr_0.0003/seed_1",
    ]
    last = cells[-1]
    assert (last.values, last.seed, last.fold) == ({"optim.max_lr": 3e-4}, 1, "")
    assert last.config == {
        **BASE,
        "seed": 1,
        "optim": {"max_lr": 3e-4, "name": "adam"},
    }
    assert BASE["seed"] == 7 and BASE["optim"]["max_lr"] == 1e-3


def test_folds_repeat_a_setting_and_are_tested_on_data_of_their_own():
    cells = expand(grid(folds=FOLDS), Path("w"))
    assert [cell.repeat for cell in cells[::2]] == [
        "fold0-seed_0",
        "fold0-seed_1",
        "fold1-seed_0",
        "fold1-seed_1",
    ]
    assert [cell.config["data"]["eval"] for cell in cells[::4]] == ["d/f0", "d/f1"]
    assert [cell.test for cell in cells[::4]] == ["d/f1", "d/f0"]
    assert "test" not in cells[0].config


def test_no_two_runs_of_a_setting_are_the_same_sample():
    links = {"a": BASE, "b": BASE}
    base = {"stage": "chain", "order": ["a", "b"], "links": links}
    axes = {"links": {"a": {"seed": (5, 6)}, "b": {"seed": (5, 6)}}}
    cells = expand(grid(base, axes), Path("w"))
    assert [(cell.setting, cell.seed) for cell in cells] == [
        ("all", combination) for combination in range(4)
    ]


def test_the_selection_may_look_at_the_first_folds_and_seeds_alone():
    cells = expand(grid(folds=FOLDS, seeds=1), Path("w"))
    assert {cell.repeat for cell in cells if cell.selects} == {
        "fold0-seed_0",
        "fold1-seed_0",
    }
    config = grid(folds=FOLDS, seeds=1)
    config["select"]["folds"] = 1
    selecting = [cell for cell in expand(config, Path("w")) if cell.selects]
    assert [cell.repeat for cell in selecting] == ["fold0-seed_0"] * 2


def test_without_axes_there_is_one_setting():
    (cell,) = expand(grid(axes={}), Path("w"))
    assert cell.name == "all/run" and cell.config == BASE


def test_names_are_folders_that_differ_wherever_values_do():
    axes = {"data": {"train": ("a/b", "a_b", "a b", "ä/" + "x" * 200)}}
    names = [cell.name for cell in expand(grid(axes=axes), Path("w"))]
    assert len(set(names)) == 4
    for name in names:
        assert re.fullmatch(r"[\w.+-]{1,80}/run", name)
    assert names[1] == "train_a_b/run"


def test_axes_with_the_same_last_key_are_told_apart():
    base = {**BASE, "late": {"max_lr": 1.0}}
    axes = {"optim": {"max_lr": (1.0, 2.0)}, "late": {"max_lr": (3.0, 4.0)}}
    cells = expand(grid(base, axes), Path("w"))
    assert cells[0].setting == "optim.max_lr_1.0-late.max_lr_3.0"
    assert len({cell.name for cell in cells}) == 4


@pytest.mark.parametrize(
    "axes, expected",
    [
        ({"optim": {"max_rl": (1,)}}, "did you mean 'optim.max_lr'"),
        ({"seed": ()}, r"axes.seed=\(\): expected the values"),
        ({"seed": 3}, "axes.seed=3: expected the values"),
        ({"optim": {"name": "sgd"}}, "axes.optim.name='sgd': expected the values"),
        ({"seed": (1, 2, 1)}, "axes.seed has 1 twice"),
    ],
)
def test_axes_that_make_no_grid_are_refused(axes, expected):
    with pytest.raises(InputError, match=expected):
        expand(grid(axes=axes), Path("w"))


@pytest.mark.parametrize(
    "test, use", [("d/valid", "selected"), ("d/train/", "trained")]
)
def test_test_data_are_kept_apart(test, use):
    with pytest.raises(InputError, match=f"test={test} is what .* are {use} on"):
        expand(grid(test=test), Path("w"))
    base = {**BASE, "data": {"train": ("x", "d/train"), "eval": "d/valid"}}
    with pytest.raises(InputError, match=r"are .* on"):
        expand(grid(base, test=test), Path("w"))


@pytest.mark.parametrize("link", [False, True])
def test_test_data_under_another_name_are_known_again(tmp_path, monkeypatch, link):
    monkeypatch.chdir(tmp_path)
    place = (tmp_path / "d" / "valid") if not link else (tmp_path / "link")
    if link:
        place.symlink_to(tmp_path / "d" / "valid")
    with pytest.raises(InputError, match=r"are selected on"):
        expand(grid(test=str(place)), Path("w"))


def test_frozen_encoders_keep_their_frames_in_one_place():
    cells = expand(grid({**BASE, "frames": ""}), Path("w"))
    assert {cell.config["frames"] for cell in cells} == {"w/frames"}
    own = expand(grid({**BASE, "frames": "elsewhere"}), Path("w"))
    assert {cell.config["frames"] for cell in own} == {"elsewhere"}


def test_a_run_ends_with_the_last_link_of_a_chain_or_with_all_phases():
    phases = {"stage": "phases", "training": BASE}
    links = {"first": {"stage": "scenes"}, "last": phases}
    chain = {"stage": "chain", "order": ("first", "last"), "links": links}
    assert result_config(chain) is BASE
    assert result_folder(chain, Path("run")) == Path("run/last")
    assert result_folder(BASE, Path("run")) == Path("run")
