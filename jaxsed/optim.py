"""Optimiser and learning rate schedule from one mapping of plain values.

Everything that treats parameters differently (layer-wise decay, freezing, other rates
for heads, what weight decay spares) is one mechanism: `jaxsed.parameter_rules`.

Where paper and released code (PretrainedSED) differ, the default is the paper's:

* warm-up: 5,000 steps (paper, section III-A). The released AudioSet script never passes
  its option on and warms up for 20,000, the downstream script for 4,000: set
  `warmup_steps`. A run shorter than its warm-up never reaches `max_lr`.
* weight decay: neither uses it on AudioSet. The released scripts mean to spare vectors
  but do not (they get torch's default or the full decay); here they are spared. The
  released downstream behaviour is `decay_rules=[(".", 1.0)]`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from jaxsed.errors import InputError, check_known
from jaxsed.parameter_rules import layer_rules, multipliers
from jaxsed.schedules import SCHEDULES, Schedule, make_schedule

# Every key there is. Effective Pre-Training, section III-A; max_lr is the first of the
# paper's grid and the released default, betas and eps are torch's.
DEFAULTS: dict[str, Any] = {
    "name": "adam",  # adam | adamw | sgd
    "max_lr": 7e-5,
    "schedule": "cosine",  # cosine | linear | constant | table, after the warm-up
    "table": (),  # (first step, factor of max_lr) each; `schedules.by_epoch`
    "warmup_steps": 5000,
    "warmup_every": 1,  # steps between two rates of the warm-up
    "min_lr_factor": 0.0,  # of max_lr, at the end; released linear: 2e-7 / max_lr
    "weight_decay": 0.0,  # decoupled, adamw only
    "l2_penalty": 0.0,  # added to gradients: the `weight_decay` of torch's Adam and SGD
    "decay_rules": (),  # (regex, multiplier of weight_decay), before the built-in rule
    "layer_decay": 1.0,  # rate of a layer / rate of the layer above
    "lr_rules": (),  # (regex, multiplier of the rate); replaces layer decay there
    "frozen": (),  # regexes; frozen parameters have no optimiser state
    "clip_norm": 0.0,  # global gradient norm; 0 does not clip
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "momentum": 0.9,  # sgd only
}
NAMES = ("adam", "adamw", "sgd")


def build_optimizer(
    config: Mapping[str, Any],
    params: Any,
    total_steps: int,
    layer_names: Sequence[str] = (),
) -> tuple[optax.GradientTransformation, Schedule]:
    """Returns the optimiser and its learning rate as a function of the step.

    Args:
        config: settings, see `DEFAULTS`.
        params: parameter tree; shapes are enough (`jax.eval_shape`).
        total_steps: optimiser steps of the run.
        layer_names: the encoder's parameter keys, bottom first; for `layer_decay`.

    Raises:
        InputError: an unknown or impossible setting, or a rule that fits no parameter.
    """
    config = resolve(config)
    if total_steps < 1:
        raise InputError(f"total_steps={total_steps}: a run takes at least one step")
    schedule = make_schedule(
        config["schedule"],
        config["max_lr"],
        total_steps,
        config["warmup_steps"],
        config["min_lr_factor"],
        warmup_every=config["warmup_every"],
        table=config["table"],
    )
    rates = jax.tree.map(
        lambda rate, learnt: rate * learnt,
        _rate_multipliers(config, params, layer_names),
        multipliers(params, (), _is_learnt),
    )
    trainable = jax.tree.map(lambda rate: rate > 0, rates)
    if not any(jax.tree.leaves(trainable)):
        raise InputError(
            f"optim.frozen={list(config['frozen'])} freezes every parameter: "
            "leave at least a head trainable"
        )
    steps = [_masked(_moments(config), trainable)]
    if config["weight_decay"]:
        decay = jax.tree.map(
            lambda factor, trains: config["weight_decay"] * factor * trains,
            _decay_multipliers(config, params),
            trainable,
        )
        steps.append(_add_decay(decay))
    steps.append(optax.scale_by_learning_rate(schedule))
    if any(rate not in (0.0, 1.0) for rate in jax.tree.leaves(rates)):
        steps.append(_multiply(rates))
    return optax.chain(*steps), schedule


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the config with every key, missing ones from `DEFAULTS`.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    for name in config:
        check_known("optimiser setting", name, DEFAULTS)
    full = {**DEFAULTS, **config}
    for name, choices in (("name", NAMES), ("schedule", SCHEDULES)):
        check_known(f"optim.{name}", full[name], choices)
    for name, low, high in _RANGES:
        value = full[name]
        if not (isinstance(value, int | float) and low <= value <= high):
            raise InputError(
                f"optim.{name}={value!r} is out of range: "
                f"give a number from {low:g} to {high:g}"
            )
    if full["name"] != "adamw" and full["weight_decay"]:
        raise InputError(
            f"optim.weight_decay={full['weight_decay']} needs optim.name=adamw: "
            "decay that goes through the moments is optim.l2_penalty"
        )
    regexes = full["frozen"]  # a text's letters would be regexes, too
    if not isinstance(regexes, tuple | list) or any(
        type(r) is not str for r in regexes
    ):
        example = regexes if isinstance(regexes, str) else "encoder"
        raise InputError(
            f"optim.frozen={regexes!r}: expected a tuple of regexes, such as ({example!r},)"
        )
    for name in ("lr_rules", "decay_rules"):
        _check_rules(name, full[name])
    _check_effects(full)
    return full


def _check_effects(config: dict[str, Any]) -> None:
    """Refuses settings that nothing would follow from."""
    if config["decay_rules"] and not config["weight_decay"]:
        raise InputError(
            f"optim.decay_rules={config['decay_rules']!r} multiply a weight decay of 0: "
            "set optim.weight_decay (and optim.name=adamw), or leave the rules out"
        )
    if len(config["table"]) and config["schedule"] != "table":
        raise InputError(
            f"optim.table is for optim.schedule=table, not {config['schedule']}: set "
            "optim.table=() with another schedule"
        )
    if 0 < config["warmup_steps"] < config["warmup_every"]:
        raise InputError(
            f"optim.warmup_every={config['warmup_every']} is longer than the warm-up of "
            f"{config['warmup_steps']} steps, whose rate would stay 0"
        )
    if config["min_lr_factor"] and config["schedule"] in ("constant", "table"):
        raise InputError(
            f"optim.min_lr_factor={config['min_lr_factor']} is where a cosine or a line "
            f"ends, but optim.schedule={config['schedule']}: set one of them to another "
            "value"
        )


def _check_rules(name: str, rules: Any) -> None:
    for rule in rules if isinstance(rules, tuple | list) else (rules,):
        is_pair = isinstance(rule, tuple | list) and len(rule) == 2
        types = tuple(map(type, rule)) if is_pair else ()
        if types not in ((str, int), (str, float)) or not 0 <= rule[1] < math.inf:
            raise InputError(
                f"optim.{name} has {rule!r}: expected pairs of a regex and a multiplier "
                "from 0 on, such as (('bias$', 0.5),)"
            )


_MAX_BETA = 1 - 1e-6  # at 1 the bias correction of the moments divides by 0
_MIN_EPS = 1e-30  # at 0 a parameter without gradient, as of a head not used, gets 0 / 0
_RANGES = (
    ("max_lr", 0.0, 1e3),
    ("warmup_steps", 0, math.inf),
    ("warmup_every", 1, math.inf),
    ("min_lr_factor", 0.0, 1.0),
    ("weight_decay", 0.0, 1e3),
    ("l2_penalty", 0.0, 1e3),
    ("layer_decay", 1e-6, 1.0),
    ("clip_norm", 0.0, math.inf),
    ("beta1", 0.0, _MAX_BETA),
    ("beta2", 0.0, _MAX_BETA),
    ("eps", _MIN_EPS, 1.0),
    ("momentum", 0.0, 1.0),
)


def frozen(
    config: Mapping[str, Any], params: Any, layer_names: Sequence[str] = ()
) -> Any:
    """Returns a tree like `params` of bools: what the settings keep as it starts.

    The optimiser needs no telling; layers with running statistics do, as those move
    by what the layer sees and not by gradients (`models.batch_norm`). To train such a
    layer's weights and keep its statistics, freeze `/(mean|var)$`.

    Arguments and errors are those of `build_optimizer`.
    """
    rates = _rate_multipliers(resolve(config), params, layer_names)
    return jax.tree.map(lambda rate: rate == 0, rates)


# ------------------------------------------------------------- which parameters, and how


def _rate_multipliers(
    config: dict[str, Any], params: Any, layer_names: Sequence[str]
) -> Any:
    rules = [(regex, 0.0) for regex in config["frozen"]]
    rules += config["lr_rules"]
    if config["layer_decay"] != 1.0:
        if not layer_names:
            raise InputError(
                f"optim.layer_decay={config['layer_decay']} needs an encoder that names "
                "its layers: set it to 1"
            )
        rules += layer_rules(layer_names, config["layer_decay"])
    return multipliers(params, rules)


def _decay_multipliers(config: dict[str, Any], params: Any) -> Any:
    """Multipliers of weight decay: 0 for biases, norm scales and other vectors."""

    def built_in(path: str, leaf) -> float:
        # Attention biases may be matrices [heads, width]: names count, not axes alone.
        return 0.0 if len(leaf.shape) < 2 or path.endswith(("bias", "scale")) else 1.0

    return multipliers(params, config["decay_rules"], built_in)


# Running statistics: no gradient, moments, rate or decay; the training step sets them.
_RUNNING = re.compile(r"(^|/)(mean|var)$")


def _is_learnt(path: str, leaf: Any) -> float:
    return 0.0 if _RUNNING.search(path) else 1.0


# ------------------------------------------------------------------------ update


def _moments(config: dict[str, Any]) -> optax.GradientTransformation:
    """What is done to gradients before the learning rate, in torch's order."""
    steps = []
    if config["clip_norm"]:
        steps.append(optax.clip_by_global_norm(config["clip_norm"]))
    if config["l2_penalty"]:
        steps.append(optax.add_decayed_weights(config["l2_penalty"]))
    if config["name"] == "sgd":
        steps.append(optax.trace(config["momentum"]))
    else:
        betas = config["beta1"], config["beta2"]
        steps.append(optax.scale_by_adam(*betas, config["eps"]))
    return steps[0] if len(steps) == 1 else optax.chain(*steps)


def _masked(
    moments: optax.GradientTransformation, trainable: Any
) -> optax.GradientTransformation:
    """Keeps frozen parameters from having moments and from counting for clipping."""
    if all(jax.tree.leaves(trainable)):
        return moments
    frozen = jax.tree.map(lambda trains: not trains, trainable)
    return optax.chain(
        optax.masked(moments, trainable), optax.masked(optax.set_to_zero(), frozen)
    )


def _add_decay(decay: Any) -> optax.GradientTransformation:
    """Adds `decay * parameter` to the update; decoupled, as it follows the moments."""

    def update(updates, params):
        return jax.tree.map(
            lambda u, p, d: u + d * p if d else u, updates, params, decay
        )

    return optax.stateless(update)


def _multiply(factors: Any) -> optax.GradientTransformation:
    return optax.stateless(
        lambda updates, params: jax.tree.map(lambda u, f: u * f, updates, factors)
    )
