import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.schedules import by_epoch, make_schedule, ramps, stairs

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


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_schedule_starts_at_zero_and_keeps_its_end(kind):
    schedule = make_schedule(kind, 2.0, 100, 10, min_lr_factor=0.1)
    values = np.asarray(jax.vmap(schedule)(jnp.arange(150)))
    assert values[0] == 0 and values[10] == 2.0
    assert (np.diff(values[:11]) > 0).all()
    end = 2.0 if kind == "constant" else 0.2
    np.testing.assert_allclose(values[100:], end, rtol=1e-6)


def recipe(name):
    """Rates that the original optimisers of AST and HTS-AT had."""
    with np.load(GOLDEN / "recipe.npz") as file:
        return file[f"lr/{name}"]


def by_step(schedule, steps):
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(steps)))


@pytest.mark.parametrize(
    ("name", "start", "every", "factor"),
    [
        ("audioset_full", 2, 1, 0.5),
        ("audioset_balanced", 10, 5, 0.5),
        ("esc50_audioset_init", 5, 1, 0.85),
        ("speechcommands", 5, 1, 0.85),
        ("like_audioset_20_epochs", 2, 1, 0.5),
    ],
)
def test_stairs_are_asts(name, start, every, factor):
    expected = recipe(name)
    epochs, steps = len(expected), 7
    table = by_epoch(stairs(epochs, start, every, factor), steps)
    schedule = make_schedule("table", expected[0], epochs * steps, 0, table=table)
    for place in (0, steps - 1):  # first and last step of each epoch
        rates = by_step(schedule, np.arange(epochs) * steps + place)
        np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_warm_up_in_stairs_is_asts():
    expected = recipe("warmup_steps")
    schedule = make_schedule(
        "table", 1e-5, 10**6, 1000, warmup_every=50, table=((0, 1.0),)
    )
    rates = by_step(schedule, np.arange(len(expected)))
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_ramps_are_efficientats():
    """`exp_warmup_linear_down` written out, with its defaults."""
    factors = ramps(200, up_epochs=8, down_start=80, down_epochs=95, last=0.01)
    assert len(factors) == 200
    np.testing.assert_allclose(factors[0], np.exp(-5 * (1 - 0.5 / 8) ** 2))
    np.testing.assert_allclose(factors[3], np.exp(-5 * (1 - 3 / 8) ** 2))
    assert factors[8:81] == [1.0] * 73
    np.testing.assert_allclose(factors[100], 0.01 + 0.99 * (95 - 20) / 95)
    np.testing.assert_allclose(factors[175:], 0.01)


def test_a_table_holds_changes_only_and_its_last_factor_stays():
    table = by_epoch([1.0, 1.0, 0.5, 0.5, 0.25], 10)
    assert table == ((0, 1.0), (20, 0.5), (40, 0.25))
    schedule = make_schedule("table", 2.0, 50, 0, table=table)
    assert by_step(schedule, [0, 19, 20, 39, 40, 10**6]).tolist() == [
        2,
        2,
        1,
        1,
        0.5,
        0.5,
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ((), "expected 0 and then ascending"),
        (((5, 1.0),), "steps .5.: expected 0"),
        (((0, 1.0), (0, 0.5)), "ascending"),
        (((0, -1.0),), "factors .-1"),
        (((0, float("nan")),), "factors .nan"),
        ((0, 1.0), "pairs of a step and a factor"),
    ],
)
def test_tables_that_are_none_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        make_schedule("table", 1.0, 10, 0, table=table)


def test_without_warmup_the_first_step_counts():
    assert make_schedule("cosine", 3.0, 5, 0)(0) == 3.0
