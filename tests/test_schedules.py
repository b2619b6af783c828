import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.schedules import SCHEDULES, make_schedule

GOLDEN = Path(__file__).parent / "golden"


def golden(name):
    with np.load(GOLDEN / "ops.npz") as file:
        return json.loads(str(file[name]))


@pytest.mark.parametrize(
    "name",
    [
        "lr_audioset_default",
        "lr_audioset_30_epochs",
        "lr_audioset_warmup5000",
        "lr_downstream_default",
        "lr_audioset_linear",
    ],
)
def test_schedule_matches_the_original(name):
    expected = golden(name)
    linear = "lr_end" in expected
    schedule = make_schedule(
        "linear" if linear else "cosine",
        1.0,
        expected["total"],
        expected["warmup"],
        expected["lr_end"] / expected["lr_init"] if linear else 0.0,
    )
    steps = np.array(expected["steps"])
    factors = jax.jit(jax.vmap(schedule))(steps)
    np.testing.assert_allclose(factors, expected["factor"], rtol=0, atol=1e-6)


def test_cosine_is_accurate_relative_to_itself_near_the_end():
    expected = golden("lr_audioset_default")
    schedule = make_schedule("cosine", 1.0, expected["total"], expected["warmup"])
    np.testing.assert_allclose(schedule(46919), 3.40478462090843e-09, rtol=1e-5)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedule_starts_at_zero_and_keeps_its_end(kind):
    schedule = make_schedule(kind, 2.0, 100, 10, min_lr_factor=0.1)
    values = np.asarray(jax.vmap(schedule)(jnp.arange(150)))
    assert values[0] == 0 and values[10] == 2.0
    assert (np.diff(values[:11]) > 0).all()
    end = 2.0 if kind == "constant" else 0.2
    np.testing.assert_allclose(values[100:], end, rtol=1e-6)


def test_without_warmup_the_first_step_counts():
    assert make_schedule("cosine", 3.0, 5, 0)(0) == 3.0
