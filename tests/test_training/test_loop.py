import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.training import loop, preemption, sharding
from jaxsed.training.checkpoints import Checkpoints
from jaxsed.training.logs import MetricsLog, read_metrics
from tests.test_training import toy

CADENCE = loop.Cadence(total=10, log=2, evaluate=5, save=4)


class Killed(Exception):
    pass


def run(workdir, kill_at=None, loss=toy.loss_fn, cadence=CADENCE, notice=None):
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
    state = loop.fit(
        state,
        step_or_die,
        batches,
        run_key=jax.random.key(0),
        cadence=cadence,
        mesh=mesh,
        checkpoints=checkpoints,
        log=MetricsLog(workdir, resume_step=resume),
        evaluators={"eval": lambda params: {"norm": float(jnp.sum(params["w"] ** 2))}},
        notice=notice or preemption.Notice(),
        clip_ids=[f"clip{row}" for row in range(toy.BATCH)],
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


def test_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path):
    def explode(params, batch, key):
        loss, measurements = toy.loss_fn(params, batch, key)
        return loss / jnp.where(batch["target"][0] > 0, 1.0, 0.0), measurements

    with pytest.raises(InputError, match=r"the loss of step \d+ is (inf|nan)"):
        run(tmp_path, loss=explode, cadence=loop.Cadence(50, 50, 50, 10))
    saved = Checkpoints(tmp_path / "checkpoints").latest_step
    assert saved is None
