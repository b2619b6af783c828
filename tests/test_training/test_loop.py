import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.training import loop, preemption, sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog, read_metrics
from jaxsed.training.until import Until
from tests.test_training import toy

CADENCE = loop.Cadence(total=10, log=2, evaluate=5, save=4)


@pytest.mark.parametrize("name", ["log", "evaluate", "save"])
def test_intervals_are_steps(name):
    with pytest.raises(InputError, match=f"every.{name}=0: expected at least 1 step"):
        loop.Cadence(**{"total": 10, "log": 1, "evaluate": 1, "save": 1, name: 0})


class Killed(Exception):
    pass


def norm(params):
    return {"norm": float(jnp.sum(params["w"] ** 2))}


def run(
    workdir,
    kill_at=None,
    loss=toy.loss_fn,
    cadence=CADENCE,
    notice=None,
    evaluate=norm,
    **options,
):
    mesh = sharding.make_mesh()
    state, abstract, shardings, train_step = toy.build(mesh, loss)
    batches, checkpoints = toy.batches(), Checkpoints(workdir / "checkpoints")
    resumed_from = checkpoints.latest_step
    if resumed_from is not None:
        state = checkpoints.restore(abstract, shardings, batches)

    def step_or_die(state, batch, key):
        if kill_at is not None and int(state.step) == kill_at:
            checkpoints.close()
            raise Killed
        return train_step(state, batch, key)

    resume = -1 if resumed_from is None else resumed_from
    state, _ = loop.fit(
        state,
        step_or_die,
        batches,
        run_key=jax.random.key(0),
        cadence=cadence,
        mesh=mesh,
        checkpoints=checkpoints,
        log=MetricsLog(workdir, resume_step=resume),
        evaluators={"eval": evaluate},
        notice=notice or preemption.Notice(),
        clip_ids=[f"clip{row}" for row in range(toy.BATCH)],
        **options,
    )
    checkpoints.close()
    return state


def lines(workdir):
    """Metrics without what a clock decides."""
    return [
        {k: v for k, v in line.items() if k != "train/clips_per_second"}
        for line in read_metrics(workdir / "metrics.jsonl")
    ]


def test_duties_come_at_their_steps(tmp_path):
    run(tmp_path)
    logged = lines(tmp_path)
    assert [m["step"] for m in logged if "eval/norm" in m] == [0, 5, 10]
    assert [m["step"] for m in logged if "train/loss" in m] == [2, 4, 5, 6, 8, 10]
    assert Checkpoints(tmp_path / "checkpoints").latest_step == 10


@pytest.mark.parametrize("kill_at", [0, 3, 4, 9])
def test_killed_run_ends_as_one_never_killed(tmp_path, kill_at):
    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at)
    resumed = run(tmp_path / "killed")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed)):
        np.testing.assert_array_equal(a, b)
    assert lines(tmp_path / "whole") == lines(tmp_path / "killed")


class Told(preemption.Notice):
    """A notice that comes at some step, or in some evaluation."""

    def __init__(self, at_step=None):
        super().__init__()
        self.at_step, self.asked = at_step, 0

    def must_stop(self):
        self.asked += 1
        return self.asked == self.at_step


@pytest.mark.parametrize("at_step", [1, 5, 10])
def test_a_run_told_to_stop_saves_and_ends_as_one_never_stopped(tmp_path, at_step):
    whole = run(tmp_path / "whole")
    with pytest.raises(preemption.Preempted, match=f"after step {at_step} of 10"):
        run(tmp_path / "stopped", notice=Told(at_step))
    assert Checkpoints(tmp_path / "stopped" / "checkpoints").latest_step == at_step
    resumed = run(tmp_path / "stopped")
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed)):
        np.testing.assert_array_equal(a, b)
    evaluated = [m for m in lines(tmp_path / "stopped") if "eval/norm" in m]
    assert evaluated == [m for m in lines(tmp_path / "whole") if "eval/norm" in m]


def test_an_evaluation_that_was_stopped_is_owed(tmp_path):
    def stopped(params):
        if float(jnp.sum(params["w"] ** 2)):
            raise preemption.Interrupted
        return norm(params)

    with pytest.raises(preemption.Preempted, match="after step 5 of 10"):
        run(tmp_path / "stopped", evaluate=stopped)
    run(tmp_path / "stopped")
    run(tmp_path / "whole")
    assert lines(tmp_path / "stopped") == lines(tmp_path / "whole")


def test_a_run_ends_at_the_first_evaluation_that_passes(tmp_path):
    whole = run(tmp_path / "whole")
    found = {
        m["step"]: m["eval/norm"] for m in lines(tmp_path / "whole") if "eval/norm" in m
    }
    until = Until("eval/norm", (found[0] + found[5]) / 2)
    state = run(tmp_path / "short", until=until)
    assert int(state.step) == 5 and int(whole.step) == 10
    assert lines(tmp_path / "short") == [
        m for m in lines(tmp_path / "whole") if m["step"] <= 5
    ]
    assert Checkpoints(tmp_path / "short" / "checkpoints").latest_step == 5
    # What passed may lie behind a run that goes on: killed before it said that it is done.
    again = run(tmp_path / "short", kill_at=5, until=until)
    jax.tree.map(np.testing.assert_array_equal, again, state)
    assert int(run(tmp_path / "never", until=Until("eval/norm", 1e3)).step) == 10


def test_a_run_that_ends_early_says_which_value_was_passed(tmp_path, capsys):
    until = Until("eval/nce", 2.5)  # lower is better
    values = iter((3.0, 2.0))
    state = run(tmp_path, until=until, evaluate=lambda params: {"nce": next(values)})
    assert int(state.step) == 5
    assert "step 5: eval/nce is below 2.5" in capsys.readouterr().out


def test_the_loader_is_reported_once(tmp_path, capsys):
    rates = []

    def report(rate):
        rates.append(rate)
        return "loader: fast enough"

    run(tmp_path, loader_report=report)
    assert len(rates) == 1 and rates[0] > 0
    assert capsys.readouterr().out.count("loader: fast enough") == 1
