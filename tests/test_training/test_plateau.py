import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsed.errors import InputError
from jaxsed.training import state
from jaxsed.training.logs import MetricsLog
from jaxsed.training.plateau import Plateau, rate_scale

HALVING = Plateau("eval/pretext_accuracy")


def scales(values, plateau=HALVING):
    """The factor after each evaluation."""
    return [plateau.scale(values[: n + 1]) for n in range(len(values))]


def test_the_rate_halves_at_the_third_evaluation_without_gain():
    values = [0.1, 0.2, 0.2, 0.15, 0.2, 0.21, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    halves = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert scales(values) == halves


def test_less_than_a_ten_thousandth_is_no_gain():
    just_below, just_above = 0.5 * (1 + 0.9e-4), 0.5 * (1 + 1.1e-4)
    impatient = Plateau("eval/map", patience=0)
    assert scales([0.5, just_below], impatient) == [1, 0.5]
    assert scales([0.5, just_above], impatient) == [1, 1]


def test_less_is_a_gain_where_less_is_better():
    patient = Plateau("eval/segment_1s_er", patience=1)
    falling, rising = [0.9, 0.8, 0.7, 0.6], [0.6, 0.7, 0.8, 0.9]
    assert scales(falling, patient) == [1, 1, 1, 1]
    assert scales(rising, patient) == [1, 1, 0.5, 0.5]
    just_above, just_below = 0.5 * (1 - 0.9e-4), 0.5 * (1 - 1.1e-4)
    impatient = Plateau("eval/segment_1s_er", patience=0)
    assert scales([0.5, just_above], impatient) == [1, 0.5]
    assert scales([0.5, just_below], impatient) == [1, 1]


def test_what_is_not_defined_is_no_gain():
    assert scales([None, None, None, 0.1, 0.2])[-1] == 0.5
    assert scales([None, None, None, 0.2, 0.1], Plateau("eval/nce"))[-1] == 0.5


def test_the_factor_is_read_from_the_log_but_for_the_start(tmp_path):
    log = MetricsLog(tmp_path)
    for step, value in ((0, 0.9), (10, 0.3), (20, 0.3)):
        log.write(step, {"eval/pretext_accuracy": value})
        log.write(step, {"train/loss": 1.0})
    plateau = Plateau("eval/pretext_accuracy", patience=0)
    optimizer = plateau.scaled(optax.sgd(1.0))
    before = state.create({"w": jnp.ones(3)}, optimizer)
    before = jax.device_put(before, jax.devices()[0])
    after = plateau.adjusted(before, log)
    assert float(rate_scale(after.opt_state)) == 0.5
    updates, kept = optimizer.update({"w": jnp.ones(3)}, after.opt_state)
    np.testing.assert_array_equal(updates["w"], -0.5 * np.ones(3))
    assert float(rate_scale(kept)) == 0.5


def test_a_steady_rate_leaves_the_optimiser_alone():
    optimizer = optax.adam(1e-3)
    assert Plateau().scaled(optimizer) is optimizer
    assert rate_scale(optimizer.init({"w": jnp.ones(3)})) == 1.0


@pytest.mark.parametrize(
    "options", [{"factor": 1.0}, {"factor": 0.0}, {"patience": -1}]
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError, match=r"plateau\.factor"):
        Plateau("eval/map", **options)


def test_a_metric_that_is_not_evaluated_is_refused():
    with pytest.raises(InputError, match="did you mean 'eval/pretext_accuracy'"):
        Plateau("eval/pretext_acuracy").check(["eval/pretext_accuracy", "eval/nce"])
