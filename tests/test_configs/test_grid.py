"""`configs/grid.py`: any recipe as a grid."""

from pathlib import Path

import pytest

from configs import common, grid, student
from jaxsed.dotted import flat
from jaxsed.errors import InputError
from jaxsed.stages.grid_cells import expand

OWN_RECIPE = """
from configs import common

FOLDS = 3

def get_config(text=""):
    given = common.arguments(text, lr=0.1, seed=0, fold=0, on="eval", both=1)
    config = common.training("strong")
    config.seed, config.optim.max_lr, config.data.train = given.seed, given.lr, "train"
    config.data.eval = f"{given.on}{given.fold}"
    config.steps = config.batch_size = given.both
    return config
"""


def cells(text, **changes):
    config = grid.get_config(text)
    config.update_from_flattened_dict(changes)
    return expand(config.to_dict(), Path("w"))


def recipe(tmp_path):
    path = tmp_path / "my_recipe.py"
    path.write_text(OWN_RECIPE)
    return path


def test_the_papers_grid_of_a_student():
    config = grid.get_config("base=student,model=beats")
    assert flat(config.axes.to_dict()) == {
        "optim.max_lr": common.LEARNING_RATES,
        "seed": (0, 1, 2),
    }
    lr = common.LEARNING_RATES[0]
    assert config.base == student.get_config(f"model=beats,seed=0,lr={lr}")
    assert len(cells("base=student,model=beats")) == 18
    assert {cell.test for cell in cells("base=student")} == {""}


def test_arguments_of_the_recipe_may_have_several_values():
    found = cells("base=teacher,lr=1e-4,seed=5,rnn=true+false,model=m2d")
    assert [cell.name for cell in found] == [
        "sequence_bigru/seed_5",
        "sequence_none/seed_5",
    ]
    assert {cell.config["model"]["encoder"] for cell in found} == {"m2d"}
    assert {cell.config["optim"]["max_lr"] for cell in found} == {1e-4}


def test_settings_of_the_base_are_changed_as_those_of_a_recipe():
    changes = {"base.steps": 7, "axes.seed": (1, 2), "axes.optim.max_lr": (1e-2, 1e-3)}
    found = cells("base=student", **changes)
    assert len(found) == 4 and {cell.config["steps"] for cell in found} == {7}


def test_phases_are_a_base_too():
    config = grid.get_config("base=student,phases=2-1,lr=1e-4+3e-4,seed=0")
    assert flat(config.axes.to_dict()) == {
        "training.optim.max_lr": (1e-4, 3e-4),
        "training.seed": (0,),
    }


def test_folds_and_test_data_of_ones_own_recipe(tmp_path):
    found = cells(f"base={recipe(tmp_path)},lr=1e-2+1e-3")
    assert [(c.repeat, c.config["data"]["eval"], c.test) for c in found[::2]] == [
        (f"fold{k}-seed_0", f"validation{k}", f"eval{k}") for k in range(3)
    ]
    one = cells(f"base={recipe(tmp_path)},lr=1e-2,fold=1,test=other,seed=0+4")
    assert [(c.repeat, c.config["data"]["eval"], c.test) for c in one] == [
        (f"fold1-seed_{seed}", "validation1", "other") for seed in (0, 4)
    ]


def test_who_says_what_to_evaluate_on_gets_no_test(tmp_path):
    found = cells(f"base={recipe(tmp_path)},on=eval,lr=1e-2,fold=0")
    assert [(cell.config["data"]["eval"], cell.test) for cell in found] == [
        ("eval0", "")
    ]


def test_maestro_is_selected_on_one_fold_and_tested_on_another():
    found = cells("base=maestro,model=m2d,lr=1e-4")
    assert [cell.repeat for cell in found] == [f"fold{k}-seed_0" for k in range(5)]
    for k, cell in enumerate(found):
        folds = [f"data/maestro/fold{(k + i) % 5:02d}" for i in range(5)]
        data = cell.config["data"]
        assert [cell.test, data["eval"], *data["train"]] == folds


def test_rates_for_a_frozen_encoder_are_others():
    config = grid.get_config("base=dcase2016,mode=frozen,select_seeds=1")
    assert config.axes.optim.max_lr == grid.FROZEN_LEARNING_RATES
    assert config.axes.seed == (0, 1, 2, 3) and config.select.seeds == 1
    assert config.test == "data/dcase2016/eval"
    assert config.base.data.eval == "data/dcase2016/validation"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("base=studnet", "unknown base 'studnet': did you mean 'student'"),
        ("base=no/such.py", r"unknown base 'no/such\.py'"),
        ("base=student,sede=1", "unknown argument 'sede'"),
        ("base=student,select_seeds=x", "select_seeds=x: expected int"),
        (
            "base=student,released=true+false",
            "released=true.false changes augment.*one set",
        ),
        ("base=student,lr=1e-4+1e-4", "changes nothing"),
    ],
)
def test_what_makes_no_grid_is_refused(text, expected):
    with pytest.raises(InputError, match=expected):
        grid.get_config(text)


def test_an_argument_that_changes_two_settings_is_no_axis(tmp_path):
    with pytest.raises(InputError, match=r"both=1\+2 changes batch_size, steps, but"):
        grid.get_config(f"base={recipe(tmp_path)},both=1+2")
