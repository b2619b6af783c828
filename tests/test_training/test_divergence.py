import json

import jax.numpy as jnp
import pytest

from jaxsed.training import divergence, loop
from jaxsed.training.checkpoints import Checkpoints
from tests.test_training import toy
from tests.test_training.test_loop import run


def test_a_loss_that_is_not_finite_names_step_and_clips_and_is_not_saved(tmp_path):
    def explode(params, batch, key):
        loss, measurements = toy.loss_fn(params, batch, key)
        return loss / jnp.where(jnp.max(batch["features"]) > 3, 0.0, 1.0), measurements

    batches = toy.batches()
    bad = next(k for k in range(1, 50) if next(batches)["features"].max() > 3)
    names = ", ".join(f"clip{row}" for row in range(divergence.NAMED_CLIPS))
    expected = (
        rf"the loss of step {bad} is inf \(step {bad - 1} is kept\).* {names} and "
    )
    with pytest.raises(divergence.Diverged, match=expected):
        run(tmp_path, loss=explode, cadence=loop.Cadence(50, 50, 50, bad - 1))
    assert Checkpoints(tmp_path / "checkpoints").latest_step == bad - 1
    report = json.loads((tmp_path / "not_finite.json").read_text())
    assert report["step"] == bad and len(report["clips"]) == toy.BATCH


def test_a_gradient_that_is_not_finite_under_a_finite_loss_spoils_no_checkpoint(
    tmp_path,
):
    def steep(params, batch, key):
        loss, measurements = toy.loss_fn(params, batch, key)
        # The slope of a root is infinite at 0: one times 0 is no number.
        kink = jnp.sqrt(jnp.where(jnp.max(batch["features"]) > 3, 0.0, 1.0) * loss)
        return loss + 0.0 * kink, measurements

    batches = toy.batches()
    bad = next(k for k in range(1, 50) if next(batches)["features"].max() > 3)
    with pytest.raises(divergence.Diverged, match=f"the gradient of step {bad} is nan"):
        run(tmp_path, loss=steep, cadence=loop.Cadence(bad, 50, 50, bad - 1))
    assert Checkpoints(tmp_path / "checkpoints").latest_step == bad - 1
    assert json.loads((tmp_path / "not_finite.json").read_text())["gradient"] == "nan"
