import functools
import json
import shutil

import numpy as np
import pytest

from jaxsed import locks
from jaxsed.errors import InputError, PartlyDone
from jaxsed.main import run_config
from jaxsed.stages import chain, grid, strong, testing
from jaxsed.stages.workdir import claim
from jaxsed.training.divergence import Diverged
from jaxsed.training.logs import is_done, read_metrics
from jaxsed.training.preemption import Preempted

RATES, SEEDS = (1e-4, 3e-4, 1e-3), (0, 1)
# Best at 3e-4, however many seeds.
SCORES = {1e-4: 0.3, 3e-4: 0.5, 1e-3: 0.4, 3e-3: 0.7}
FAILURE = {
    "diverged": Diverged("the loss of step 3 is nan"),
    "disk": OSError(28, "No space left on device", "model"),
    "memory": RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
}


class Toys:
    """Stages that train in no time, write what stages write, and fail as they are told."""

    def __init__(self):
        self.calls = []  # folders, in the order they were worked in
        self.failures = {}  # learning rate, or (learning rate, seed) -> exception

    def train(self, config, workdir):
        claim(workdir, config)
        self.calls.append("/".join(workdir.parts[-2:]))
        (workdir / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
        rate, seed = config["optim"]["max_lr"], config["seed"]
        for key in (rate, (rate, seed)):
            if key in self.failures:
                raise self.failures[key]
        self.write(workdir, "eval/psds1", SCORES[rate] + 0.01 * seed)

    def test(self, config, workdir):
        claim(workdir, config)
        if not is_done(workdir / "metrics.jsonl"):
            self.calls.append("/".join(workdir.parts[-3:]))
            self.write(workdir, "test/psds1", 0.25 + 0.1 * len(self.calls))

    def write(self, workdir, name, value):
        lines = [{"step": 0, name: value}, {"step": 0, "done": True}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (workdir / "metrics.jsonl").write_text(text)


@pytest.fixture
def toys(monkeypatch):
    monkeypatch.setattr(grid, "PreparedData", lambda folder: None)
    return Toys()


def config_of(rates=RATES, seeds=SEEDS, test="d/test", part="", select_seeds=0):
    base = {
        "stage": "strong",
        "seed": 0,
        "model": {"dtype": "float32"},
        "optim": {"max_lr": 0.0},
        "data": {"train": "d/train", "eval": "d/valid", "workers": 0},
        "eval": {"metrics": ("psds1",)},
        "mesh": {"data": -1},
        "steps": 9,
    }
    return {
        "stage": "grid",
        "base": base,
        "axes": {"optim": {"max_lr": rates}, "seed": seeds},
        "folds": {},
        "test": test,
        "select": {
            "metric": "",
            "evaluation": "last",
            "seeds": select_seeds,
            "folds": 0,
        },
        "part": part,
    }


def start(toys, workdir, **changes):
    stages = {"strong": toys.train, "test": toys.test}
    grid.run(config_of(**changes), workdir, stages)


def result(workdir):
    return json.loads((workdir / "grid.json").read_text())


def cells(*rates, seeds=SEEDS):
    return [f"max_lr_{rate}/seed_{seed}" for seed in seeds for rate in rates]


def test_the_best_setting_is_selected_and_its_models_tested_once(
    toys, tmp_path, capsys
):
    start(toys, tmp_path)
    tests = [f"max_lr_0.0003/seed_{seed}/test" for seed in SEEDS]
    assert toys.calls == [*cells(*RATES), *tests]
    found = result(tmp_path)
    assert found["selected"] == "max_lr_0.0003" and found["metric"] == "psds1"
    chosen = found["settings"][1]
    assert chosen["values"] == {"optim.max_lr": 3e-4}
    assert chosen["mean"] == pytest.approx(0.505)
    assert (chosen["n"], chosen["over"]) == (2, "seeds")
    tested = [run["test"]["psds1"] for run in found["runs"]]
    assert tested == pytest.approx([0.95, 1.05])
    assert found["test"]["psds1"]["mean"] == pytest.approx(1.0)
    assert found["test"]["psds1"]["spread"] == pytest.approx(
        np.std([0.95, 1.05], ddof=1)
    )
    out = capsys.readouterr().out
    assert "max_lr_0.0003  0.5050 ± 0.0071 over 2 seeds  selected" in out
    assert "test: psds1 1.0000 ± 0.0707" in out


def test_a_finished_grid_is_left_alone(toys, tmp_path):
    start(toys, tmp_path)
    for name in ("max_lr_0.001", "max_lr_0.0003"):  # somebody needed the room
        for path in (tmp_path / name).rglob("metrics.jsonl"):
            path.unlink()
    before, toys.calls = result(tmp_path), []
    start(toys, tmp_path)
    assert not toys.calls and result(tmp_path) == before


@pytest.mark.parametrize("stopped_in", range(6))
def test_a_grid_killed_anywhere_repeats_nothing_that_was_finished(
    toys, tmp_path, stopped_in
):
    name = cells(*RATES)[stopped_in]
    place = (RATES[stopped_in % 3], SEEDS[stopped_in // 3])
    toys.failures[place] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        start(toys, tmp_path)
    assert toys.calls == cells(*RATES)[: stopped_in + 1]
    assert not (tmp_path / "grid.json").exists()
    toys.failures, done = {}, toys.calls[:-1]
    start(toys, tmp_path)
    assert sorted(toys.calls[:7]) == sorted([*cells(*RATES), name])
    assert len(done) == len(set(done)) and len(toys.calls) == 7 + len(SEEDS)
    assert result(tmp_path)["selected"] == "max_lr_0.0003"


def test_a_grid_killed_between_tests_goes_on_with_the_next(toys, tmp_path):
    tests, whole = [], toys.test

    def killed(config, workdir):
        tests.append(workdir)
        if len(tests) == 2:
            raise KeyboardInterrupt
        whole(config, workdir)

    toys.test = killed
    with pytest.raises(KeyboardInterrupt):
        start(toys, tmp_path)
    toys.test, toys.calls = whole, []
    start(toys, tmp_path)
    assert toys.calls == ["max_lr_0.0003/seed_1/test"]


def test_what_the_selection_does_not_look_at_is_trained_for_the_selected_alone(
    toys, tmp_path
):
    start(toys, tmp_path, seeds=(0, 1, 2), test="", select_seeds=1)
    assert toys.calls == [*cells(*RATES, seeds=(0,)), *cells(3e-4, seeds=(1, 2))]
    found = result(tmp_path)
    assert found["settings"][1]["n"] == 1 and len(found["runs"]) == 3
    assert found["test"] is None


def test_a_diverged_setting_is_out_and_not_tried_again(toys, tmp_path, capsys):
    toys.failures[3e-4, 1] = FAILURE["diverged"]
    with pytest.raises(
        PartlyDone, match=r"no score from 1 of 6 cells: max_lr_0.0003/s"
    ):
        start(toys, tmp_path)
    found = result(tmp_path)
    assert found["selected"] == "max_lr_0.001"
    assert found["without_score"] == {
        "max_lr_0.0003/seed_1": "the loss of step 3 is nan"
    }
    assert found["settings"][1]["mean"] is None
    assert "max_lr_0.0003  -" in capsys.readouterr().out
    toys.calls = []
    (tmp_path / "grid.json").unlink()
    with pytest.raises(PartlyDone, match=r"max_lr_0.0003/seed_1"):
        start(toys, tmp_path)
    assert not toys.calls


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_any_other_failure_stops_one_cell_and_is_tried_again(toys, tmp_path, kind):
    toys.failures[1e-3] = FAILURE[kind]
    with pytest.raises(PartlyDone, match=r"2 of 6 .*0.001/seed_0: .*; also .*1/seed_1"):
        start(toys, tmp_path)
    assert toys.calls == cells(*RATES)
    assert not (tmp_path / "grid.json").exists()
    toys.failures, toys.calls = {}, []
    start(toys, tmp_path)
    assert toys.calls[:2] == cells(1e-3)
    assert len(toys.calls) == 2 + len(SEEDS)  # and the tests


def test_what_all_cells_fail_of_is_an_error(toys, tmp_path):
    toys.failures = dict.fromkeys(RATES, FAILURE["disk"])
    with pytest.raises(
        InputError, match=r"6 of 6 cells failed.*No space left"
    ) as error:
        start(toys, tmp_path)
    assert not isinstance(error.value, PartlyDone)


def test_mistakes_of_ours_and_sigterm_are_not_swallowed(toys, tmp_path):
    for error in (RuntimeError("a mistake of ours"), Preempted(3, 9)):
        toys.failures = {1e-4: error}
        with pytest.raises(type(error)):
            start(toys, tmp_path)


def test_cells_of_other_jobs_are_left_to_them(toys, tmp_path, capsys):
    held = tmp_path / "max_lr_0.0003" / "seed_0"
    held.mkdir(parents=True)
    with locks.take(held / locks.NAME, "a cell"):
        start(toys, tmp_path)
    assert toys.calls == [name for name in cells(*RATES) if "0.0003/seed_0" not in name]
    assert "other jobs or parts have 1 cells left" in capsys.readouterr().err
    assert not (tmp_path / "grid.json").exists()
    start(toys, tmp_path)
    assert toys.calls[5] == "max_lr_0.0003/seed_0" and result(tmp_path)["selected"]


def test_another_job_that_tests_is_left_alone(toys, tmp_path, capsys):
    with locks.take(tmp_path / grid.TEST_LOCK, "the test"):
        start(toys, tmp_path)
    assert "another one tests" in capsys.readouterr().err
    assert toys.calls == cells(*RATES)


def test_jobs_share_what_the_selection_leaves(toys, tmp_path, capsys):
    held = tmp_path / "max_lr_0.0003" / "seed_1"
    held.mkdir(parents=True)
    with locks.take(held / locks.NAME, "a cell"):
        start(toys, tmp_path, seeds=(0, 1, 2), select_seeds=1)
    assert toys.calls == [*cells(*RATES, seeds=(0,)), *cells(3e-4, seeds=(2,))]
    assert "have 1 cells of max_lr_0.0003 left" in capsys.readouterr().err
    assert not (tmp_path / "grid.json").exists()
    start(toys, tmp_path, seeds=(0, 1, 2), select_seeds=1)
    assert toys.calls[4] == "max_lr_0.0003/seed_1" and len(toys.calls) == 5 + 3


def test_parts_take_every_nth_cell_and_the_last_one_selects(toys, tmp_path):
    for part in ("0/4", "1/4", "3/4"):
        start(toys, tmp_path, part=part)
    order = cells(*RATES)
    assert toys.calls == [order[0], order[4], order[1], order[5], order[3]]
    assert not (tmp_path / "grid.json").exists()
    start(toys, tmp_path, part="2/4")
    assert toys.calls[5] == order[2] and result(tmp_path)["selected"]
    with pytest.raises(InputError, match="part=4/4: expected INDEX/COUNT"):
        start(toys, tmp_path, part="4/4")


def test_values_may_be_added_and_what_was_tested_before_is_said(toys, tmp_path, capsys):
    start(toys, tmp_path)
    toys.calls = []
    more = config_of(rates=(3e-3, *RATES))
    more["base"]["optim"]["max_lr"] = 3e-3  # what an axis changes is not the base's
    grid.run(more, tmp_path, {"strong": toys.train, "test": toys.test})
    assert toys.calls[:2] == cells(3e-3) and len(toys.calls) == 4
    found = result(tmp_path)
    assert found["selected"] == "max_lr_0.003"
    assert found["tested"] == ["max_lr_0.003", "max_lr_0.0003"]
    assert found["at_the_edge"] == ["optim.max_lr"]
    out = capsys.readouterr().out
    assert "tested so far: max_lr_0.003, max_lr_0.0003" in out
    assert "optim.max_lr is at the edge" in out


def test_another_base_is_refused(toys, tmp_path):
    start(toys, tmp_path)
    config = config_of()
    config["base"]["data"]["train"] = "other"
    with pytest.raises(InputError, match=r"another base\.data\.train"):
        grid.run(config, tmp_path, {"strong": toys.train, "test": toys.test})


def test_checkpoints_of_finished_cells_make_room(toys, tmp_path):
    toys.failures[1e-3] = FAILURE["disk"]
    with pytest.raises(PartlyDone):
        start(toys, tmp_path)
    kept = {path.parent.parent.name for path in tmp_path.rglob("checkpoints")}
    assert kept == {"max_lr_0.001"}


def test_checkpoints_that_a_stopped_job_left_make_room_too(toys, tmp_path):
    start(toys, tmp_path)
    (tmp_path / "grid.json").unlink()
    left = tmp_path / cells(*RATES)[0] / "checkpoints"
    left.mkdir()
    start(toys, tmp_path)
    assert not left.exists()


def test_the_stage_is_there(tmp_path):
    config = config_of()
    config["base"]["stage"] = "storng"
    with pytest.raises(InputError, match=r"a grid's base 'storng'.*test, .*grid"):
        run_config(config, tmp_path)


def test_a_chain_is_a_base_and_its_last_link_is_what_counts(toys, tmp_path):
    train = config_of()["base"]
    links = {"first": train | {"optim": {"max_lr": 1e-4}}, "last": train}
    config = config_of()
    config["base"] = {"stage": "chain", "order": ("first", "last"), "links": links}
    config["axes"] = {"links": {"last": {"optim": {"max_lr": (1e-3, 3e-4)}}}}
    stages = {"strong": toys.train, "test": toys.test}
    stages["chain"] = functools.partial(chain.run, stages=stages)
    grid.run(config, tmp_path, stages)
    assert toys.calls == ["run/first", "run/last"] * 2 + ["max_lr_0.0003/run/test"]
    found = result(tmp_path)
    assert [setting["mean"] for setting in found["settings"]] == [0.4, 0.5]
    test = tmp_path / "max_lr_0.0003" / "run" / "test" / "config.json"
    model = tmp_path / "max_lr_0.0003" / "run" / "last" / "model"
    assert json.loads(test.read_text())["model"] == str(model)


def test_only_trainings_make_a_grid(toys, tmp_path):
    links = {"train": {"stage": "strong", "steps": 1}, "last": {"stage": "summary"}}
    base = {"stage": "chain", "order": ("train", "last"), "links": links}
    config = config_of() | {"base": base}
    with pytest.raises(
        InputError, match="base ends with the stage summary: expected a"
    ):
        grid.run(config, tmp_path, {"chain": None})


def test_a_real_training_is_tested_as_it_was_evaluated(small, tmp_path):
    base = small(**{"eval.metrics": ("map", "psds1_macro"), "every.evaluate": 2})
    again = tmp_path / "again"
    shutil.copytree(base["data"]["eval"], again)
    config = config_of(test=str(again)) | {"base": base, "axes": {"seed": (3,)}}
    workdir = tmp_path / "grid"
    grid.run(config, workdir, {"strong": strong.run, "test": testing.run})
    (run,) = result(workdir)["runs"]
    assert run["run"] == "all/seed_3" and 0 < run["validation"]["map"] < 1
    assert run["test"] == pytest.approx(run["validation"], abs=1e-12)
    folder = workdir / run["run"]
    last = [m for m in read_metrics(folder / "metrics.jsonl") if "eval/map" in m][-1]
    assert run["validation"]["map"] == last["eval/map"]
    assert (folder / "model").exists() and not (folder / "checkpoints").exists()
    for scores in (folder / "scores", folder / "test" / "scores"):
        assert (scores / "per_class.tsv").exists()
