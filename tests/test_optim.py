import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxsed import optim
from jaxsed.errors import InputError
from jaxsed.parameter_rules import path_of

GOLDEN = Path(__file__).parent / "golden"
LAYERS = ("embed", "block_0", "block_1", "block_2", "norm")


def tiny_params():
    rng = np.random.default_rng(0)

    def dense(*shape):
        return {
            "kernel": jnp.asarray(rng.standard_normal(shape), jnp.float32),
            "bias": jnp.ones(shape[-1]),
        }

    return {
        "encoder": {
            "embed": {"patch": dense(4, 3), "position": jnp.ones((1, 5, 3))},
            **{f"block_{i}": {"attention": dense(3, 3)} for i in range(3)},
            "norm": {"scale": jnp.ones(3), "bias": jnp.zeros(3)},
        },
        "sequence": {"gru": dense(3, 3)},
        "strong_head": dense(3, 2),
    }


def golden(name):
    with np.load(GOLDEN / "ops.npz") as file:
        return json.loads(str(file[name]))


def run(config, n_steps=3, params=None, grads=None, total_steps=10, layers=LAYERS):
    params = tiny_params() if params is None else params
    grads = jax.tree.map(lambda p: 0.1 + 0.2 * p, params) if grads is None else grads
    tx, _ = optim.build_optimizer(config, params, total_steps, layers)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(n_steps):
        params, state = step(params, state)
    return params, state


def moved(before, after, path):
    for key in path.split("/"):
        before, after = before[key], after[key]
    return np.abs(np.asarray(before) - np.asarray(after)).max()


def test_paper_is_the_default():
    _, schedule = optim.build_optimizer({}, tiny_params(), 46920)
    expected = golden("lr_audioset_warmup5000")
    factors = [float(schedule(step)) / 7e-5 for step in expected["steps"]]
    np.testing.assert_allclose(factors, expected["factor"], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------ update


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_update_is_adams(weight_decay):
    """Against the recurrences written out in float64."""
    config = {
        "name": "adamw" if weight_decay else "adam",
        "max_lr": 0.01,
        "warmup_steps": 2,
        "schedule": "constant",
        "weight_decay": weight_decay,
    }
    params = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([4.0])}
    grads = {"kernel": jnp.array([[0.1, -1e-9], [0.0, 5.0]]), "bias": jnp.array([2.0])}
    updated, _ = run(config, n_steps=4, params=params, grads=grads)
    for name, factor in (("kernel", weight_decay), ("bias", 0.0)):
        p, g = np.asarray(params[name], float), np.asarray(grads[name], float)
        m, v = 0.0, 0.0
        for i in range(4):
            rate = 0.01 * min(i / 2, 1)
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            m_hat, v_hat = m / (1 - 0.9 ** (i + 1)), v / (1 - 0.999 ** (i + 1))
            p = p - rate * (m_hat / (np.sqrt(v_hat) + 1e-8) + factor * p)
        np.testing.assert_allclose(updated[name], p, rtol=1e-5)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_l2_penalty_is_the_weight_decay_of_torchs_adam(clip_norm):
    """AST's optimiser, in float64: clipped, then penalised, then the moments."""
    config = {"max_lr": 0.01, "warmup_steps": 0, "schedule": "constant"}
    config |= {"l2_penalty": 0.3, "beta1": 0.95, "clip_norm": clip_norm}
    params = {"kernel": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "bias": jnp.array([4.0])}
    grads = {"kernel": jnp.array([[0.1, -1e-3], [0.0, 5.0]]), "bias": jnp.array([2.0])}
    updated, _ = run(config, n_steps=4, params=params, grads=grads)
    norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
    for name in params:
        p, g = np.asarray(params[name], float), np.asarray(grads[name], float)
        g = g / norm if clip_norm else g
        m, v = 0.0, 0.0
        for i in range(4):
            penalised = g + 0.3 * p
            m = 0.95 * m + 0.05 * penalised
            v = 0.999 * v + 0.001 * penalised**2
            m_hat, v_hat = m / (1 - 0.95 ** (i + 1)), v / (1 - 0.999 ** (i + 1))
            p = p - 0.01 * m_hat / (np.sqrt(v_hat) + 1e-8)
        np.testing.assert_allclose(updated[name], p, rtol=1e-5)


def test_penalty_leaves_frozen_parameters_and_running_statistics_alone():
    params = with_running_statistics()
    config = {"l2_penalty": 0.5, "max_lr": 0.1, "warmup_steps": 0}
    config |= {"frozen": ["scale"]}
    grads = jax.tree.map(jnp.zeros_like, params)
    updated, _ = run(config, params=params, grads=grads, layers=("block_0",))
    for name in ("scale", "mean", "var"):
        assert moved(params, updated, f"encoder/block_0/norm/{name}") == 0
    assert moved(params, updated, "encoder/block_0/norm/bias") > 0


def test_a_table_of_rates_is_followed():
    config = {"schedule": "table", "table": ((0, 1.0), (2, 0.5)), "warmup_steps": 0}
    params = {"head": {"kernel": jnp.zeros((2, 2))}}
    grads = {"head": {"kernel": jnp.ones((2, 2))}}
    updated, _ = run(
        config | {"name": "sgd", "momentum": 0.0, "max_lr": 1.0}, 4, params, grads
    )
    np.testing.assert_allclose(updated["head"]["kernel"], -(1 + 1 + 0.5 + 0.5))


def test_clipping_bounds_the_gradient_norm():
    config = {"warmup_steps": 0, "schedule": "constant", "beta1": 0.0, "beta2": 0.0}
    # Without moments Adam divides by |g| + eps: a large eps shows the norm.
    config |= {"eps": 1.0, "max_lr": 1.0, "clip_norm": 0.001}
    params = {"a": jnp.zeros(2), "b": jnp.zeros(2)}
    grads = {"a": jnp.array([30.0, 0.0]), "b": jnp.array([0.0, 40.0])}
    updated, _ = run(config, n_steps=1, params=params, grads=grads)
    np.testing.assert_allclose(updated["a"], [-0.0006, 0], rtol=1e-2)
    np.testing.assert_allclose(updated["b"], [0, -0.0008], rtol=1e-2)


def test_weight_decay_spares_vectors_biases_and_what_rules_say():
    params = {
        "attention": {"bias": jnp.ones((2, 3)), "kernel": jnp.ones((3, 3))},
        "norm": {"scale": jnp.ones(3)},
        "position": jnp.ones((1, 5, 3)),
    }
    grads = jax.tree.map(jnp.zeros_like, params)
    config = {"name": "adamw", "weight_decay": 0.5, "max_lr": 0.1}
    config |= {"warmup_steps": 0, "schedule": "constant"}

    def decayed(**more):
        updated, _ = run(config | more, n_steps=1, params=params, grads=grads)
        return {
            path_of(keys): round(float(leaf.ravel()[0]), 4)
            for keys, leaf in jax.tree_util.tree_leaves_with_path(updated)
        }

    untouched = {"attention/bias": 1.0, "norm/scale": 1.0}
    assert decayed() == {"attention/kernel": 0.95, "position": 0.95, **untouched}
    assert decayed(decay_rules=[("position", 0.0)])["position"] == 1.0
    assert set(decayed(decay_rules=[(".", 1.0)]).values()) == {0.95}
    assert decayed(frozen=["position"])["position"] == 1.0


def with_running_statistics():
    norm = {name: jnp.ones(3) for name in ("scale", "bias", "mean", "var")}
    return {"encoder": {"block_0": {"norm": norm}}, "strong_head": jnp.ones((3, 2))}


def test_running_statistics_are_none_of_the_optimisers_business():
    params = with_running_statistics()
    config = {"name": "adamw", "weight_decay": 0.5, "max_lr": 0.1, "warmup_steps": 0}
    config |= {"decay_rules": [(".", 1.0)], "layer_decay": 0.5}
    updated, state = run(config, params=params, layers=("block_0",))
    for name, moves in (
        ("scale", True),
        ("bias", True),
        ("mean", False),
        ("var", False),
    ):
        distance = moved(params, updated, f"encoder/block_0/norm/{name}")
        assert (distance > 0) == moves, name
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    assert sum(size for size in sizes if size > 1) == 2 * (3 + 3 + 6)


@pytest.mark.parametrize(
    ("config", "frozen"),
    [
        ({}, set()),
        ({"frozen": ["^encoder/"]}, {"scale", "bias", "mean", "var"}),
        ({"frozen": ["/(mean|var)$"]}, {"mean", "var"}),
        ({"lr_rules": [("scale", 0.0)], "layer_decay": 0.5}, {"scale"}),
    ],
)
def test_frozen_is_what_settings_hold_running_statistics_or_not(config, frozen):
    held = optim.frozen(config, with_running_statistics(), ("block_0",))
    norm = held["encoder"]["block_0"]["norm"]
    assert {name for name, is_held in norm.items() if is_held} == frozen
    assert held["strong_head"] is False


# ------------------------------------------------------------------------- rules


def test_frozen_parameters_stay_and_have_no_moments():
    params = tiny_params()
    updated, state = run({"warmup_steps": 0, "frozen": ["^encoder/"]}, params=params)
    for before, after in zip(
        jax.tree.leaves(params["encoder"]), jax.tree.leaves(updated["encoder"])
    ):
        assert np.array_equal(before, after)
    assert moved(params, updated, "strong_head/kernel") > 0
    n_trainable = sum(
        leaf.size
        for leaf in jax.tree.leaves([params["sequence"], params["strong_head"]])
    )
    n_moments = sum(leaf.size for leaf in jax.tree.leaves(state) if leaf.ndim)
    assert n_moments == 2 * n_trainable


def test_gradients_of_frozen_parameters_do_not_count_for_clipping():
    params = {"frozen": jnp.zeros(1), "free": jnp.zeros(1)}
    config = {"warmup_steps": 0, "clip_norm": 1.0, "frozen": ["frozen"], "eps": 1.0}
    config |= {"max_lr": 1.0, "schedule": "constant", "beta1": 0.0, "beta2": 0.0}
    small = {"frozen": jnp.zeros(1), "free": jnp.full(1, 0.5)}
    huge = {"frozen": jnp.full(1, 1e6), "free": jnp.full(1, 0.5)}
    quiet, _ = run(config, 1, params, small)
    loud, _ = run(config, 1, params, huge)
    assert quiet["free"] == loud["free"] < 0
    assert loud["frozen"] == 0


def test_rates_of_layers_heads_and_sequence():
    params = tiny_params()
    config = {
        "max_lr": 1e-3,
        "warmup_steps": 0,
        "schedule": "constant",
        "layer_decay": 0.5,
        "lr_rules": [("^sequence/", 10.0), ("block_1/.*bias", 3.0)],
    }
    # Adam's first update is the rate, whatever the gradient.
    grads = jax.tree.map(jnp.ones_like, params)
    updated, _ = run(config, n_steps=1, params=params, grads=grads)
    for path, factor in {
        "strong_head/kernel": 1,
        "sequence/gru/kernel": 10,
        "encoder/norm/scale": 0.5,
        "encoder/block_2/attention/kernel": 0.5,
        "encoder/block_1/attention/kernel": 0.25,
        "encoder/block_1/attention/bias": 3,
        "encoder/block_0/attention/bias": 0.125,
        "encoder/embed/position": 0.125,
    }.items():
        np.testing.assert_allclose(
            moved(params, updated, path), 1e-3 * factor, rtol=1e-3, err_msg=path
        )


def test_shapes_are_enough_to_build_and_states_agree():
    params = tiny_params()
    config = {"frozen": ["embed"], "layer_decay": 0.9, "clip_norm": 1.0}
    abstract = jax.eval_shape(tiny_params)
    tx, _ = optim.build_optimizer(config, abstract, 10, LAYERS)
    state = tx.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(
        jax.eval_shape(tx.init, abstract)
    )


# ------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"warmup_step": 5}, "'warmup_steps'"),
        ({"name": "adagrad"}, "'adagrad'"),
        ({"schedule": "cosin"}, "'cosin'"),
        ({"max_lr": -1.0}, "max_lr=-1.0"),
        ({"max_lr": float("nan")}, "max_lr=nan"),
        ({"max_lr": "fast"}, "'fast'"),
        ({"layer_decay": 0.0}, "layer_decay=0.0"),
        ({"weight_decay": 0.1}, "name=adamw.*optim.l2_penalty"),
        ({"l2_penalty": -1.0}, "l2_penalty=-1.0"),
        ({"schedule": "table"}, "expected 0 and then ascending"),
        ({"frozen": ["encodr"]}, "'encodr' fits no parameter"),
        ({"frozen": ["("]}, "not a regular expression"),
        ({"frozen": ["."]}, "freezes every parameter"),
        (
            {"frozen": "^encoder"},
            r"expected a tuple of regexes, such as \('\^encoder',\)",
        ),
        ({"lr_rules": [("head", -1.0)]}, r"lr_rules has \('head', -1.0\): expected"),
        ({"lr_rules": ("head", 0.1)}, "lr_rules has 'head': expected pairs"),
        ({"lr_rules": [("head", float("nan"))]}, "lr_rules has .*nan"),
        ({"decay_rules": [("head", "1")]}, "decay_rules has .*expected pairs"),
        (
            {"decay_rules": [(".", 1.0)]},
            "multiply a weight decay of 0: set optim.weight",
        ),
        (
            {"schedule": "constant", "min_lr_factor": 0.1},
            "min_lr_factor=0.1 .*=constant",
        ),
        ({"frozen": (1,)}, r"frozen=\(1,\): expected a tuple of regexes"),
        ({"frozen": None}, r"frozen=None: expected a tuple of regexes"),
        ({"lr_rules": None}, "lr_rules has None: expected pairs"),
        ({"decay_rules": 1}, "decay_rules has 1: expected pairs"),
        ({"table": ((0, 1.0),)}, "table is for optim.schedule=table, not cosine"),
        ({"table": "nonsense"}, "table is for optim.schedule=table"),
        (
            {"warmup_steps": 10, "warmup_every": 50},
            "warmup_every=50 is longer than the warm-up of 10",
        ),
        ({"eps": 0.0}, "eps=0.0 is out of range"),
        ({"beta2": 1.0}, "beta2=1.0 is out of range: give a number from 0 to 0.999999"),
    ],
)
def test_impossible_settings_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        optim.build_optimizer(config, tiny_params(), 10, LAYERS)


def test_layer_decay_needs_layers_and_a_run_needs_steps():
    with pytest.raises(InputError, match="names its layers"):
        optim.build_optimizer({"layer_decay": 0.5}, tiny_params(), 10)
    with pytest.raises(InputError, match="total_steps=0"):
        optim.build_optimizer({}, tiny_params(), 0)


def test_sgd_is_torchs():
    params = {"head": {"kernel": jnp.full((2, 2), 3.0)}}
    config = {"name": "sgd", "max_lr": 0.5, "schedule": "constant", "warmup_steps": 0}
    optimizer, _ = optim.build_optimizer(config, params, 10)
    opt_state = optimizer.init(params)
    expected, velocity = 3.0, 0.0
    for gradient in (1.0, -2.0, 0.5):
        grads = {"head": {"kernel": jnp.full((2, 2), gradient)}}
        updates, opt_state = optimizer.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        velocity = 0.9 * velocity + gradient  # torch.optim.SGD, without dampening
        expected -= 0.5 * velocity
        np.testing.assert_allclose(params["head"]["kernel"], expected, rtol=1e-6)
