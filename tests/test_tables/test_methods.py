from pathlib import Path

import pytest

from jaxsed.tables.methods import column_of, rows
from jaxsed.tables.runs import Finder, Run
from tests.test_tables.made_up import students_and_teachers

MODEL = ("model.encoder",)


def run(**settings):
    settings = {key.replace("__", "."): value for key, value in settings.items()}
    settings = {"stage": "strong", "model.encoder": "beats", **settings}
    return Run(Path("r"), settings, 0, "", {}, "validation", "psds1")


def names(*runs, columns=MODEL, ignored=()):
    found = [column_of(one, columns) for one in runs]
    return rows(runs, found, {*columns, *ignored})


def test_rows_are_what_differs_between_runs_of_one_model(tmp_path):
    students_and_teachers(tmp_path)
    finder = Finder()
    finder.visit(tmp_path)
    found = names(*finder.runs)
    expected = [
        "KD from ensemble" if "student" in r.folder.name else "without KD"
        for r in finder.runs
    ]
    assert found.names == expected
    assert found.unsaid == ["steps"]


def test_a_start_is_the_same_for_all_models():
    found = names(
        run(init="BEATs_weak"),
        run(init="BEATs_ssl"),
        run(init=""),
        run(init="ATST-F_weak", model__encoder="atst_frame"),
        run(init="runs/weak_atst_frame/model", model__encoder="atst_frame"),
        run(init="runs/weak_tiny_atst_frame/model", model__encoder="tiny_atst_frame"),
    )
    assert found.names == [
        "from weak",
        "from ssl",
        "from scratch",
        "from weak",
        "from weak_*",
        "from weak_*",
    ]


def test_seeds_and_means_make_no_rows():
    found = names(
        run(seed=0, data__workers=8, every__log=1, mesh__data=1),
        run(seed=1, data__workers=2, every__log=9, mesh__data=4),
    )
    assert found == (["strong", "strong"], [])


def test_a_key_can_be_ignored():
    pair = run(optim__max_lr=1e-4), run(optim__max_lr=3e-4)
    assert names(*pair).names == ["optim.max_lr=0.0001", "optim.max_lr=0.0003"]
    assert names(*pair, ignored=["optim.max_lr"]).names == ["strong", "strong"]


def test_paths_that_end_alike_are_shown_whole():
    found = names(
        run(teacher__logits="a/ensemble/logits"),
        run(teacher__logits="b/ensemble/logits"),
    )
    assert found.names == ["KD from a/ensemble/logits", "KD from b/ensemble/logits"]


@pytest.mark.parametrize(
    "keys, expected",
    [
        (MODEL, "beats"),
        (("mode", "data.eval"), "frozen, dcase2016"),
        (("data.train",), "maestro"),
        (("nothing",), "strong"),
    ],
)
def test_columns(keys, expected):
    folds = ["data/maestro/fold00", "data/maestro/fold01"]
    one = run(mode="frozen", data__eval="data/dcase2016/validation", data__train=folds)
    assert column_of(one, keys) == expected


def test_table_two_has_models_and_starts_as_rows():
    ways = [
        run(mode=mode, init=init, model__encoder=model, optim__layer_decay=decay)
        for model, init in (
            ("beats", "BEATs_weak"),
            ("beats", "BEATs_ssl"),
            ("m2d", "M2D_ssl"),
        )
        for mode, decay in (("frozen", 1.0), ("finetune", 0.5))
    ]
    found = names(*ways, columns=("mode",))
    assert found.names[::2] == ["beats, from weak", "beats, from ssl", "m2d, from ssl"]
    assert found.names[1::2] == found.names[::2] and not found.unsaid


def test_tasks_are_told_apart_by_their_data():
    tasks = [run(data__eval=f"data/{name}/validation") for name in ("desed", "maestro")]
    assert names(*tasks).names == ["on desed", "on maestro"]
