"""Model FLOPs: the operations that a training cannot do without.

The numerator of model FLOPs utilisation (Chowdhery et al. 2022, "PaLM", appendix B): two
operations for every multiplication of the model's matrix products and convolutions, once
forward and twice backward (towards the inputs and towards the weights). What a program
computes beside that does not count: front-end, augmentation, softmax and norms, the
optimiser, and whatever is computed a second time. So a program that is made faster by
computing more cannot look better for it: where platforms have forms of their own, the
plain one counts, and of attention the scores, not what a kernel computes around them.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxsed.models.sed import SoundEventModel
from jaxsed.stages.program import init_params

BACKWARD = 2  # products in the backward pass for each in the forward pass


def training_flops(model: SoundEventModel, clip_seconds: float) -> int:
    """Returns the model FLOPs of one training example.

    Args:
        model: what is trained.
        clip_seconds: length of the example.
    """
    n_samples = round(clip_seconds * model.frontend.sample_rate)
    wave = jax.ShapeDtypeStruct((1, n_samples), "float32")
    mel = jax.eval_shape(model.frontend, wave)
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))

    def forward(params, mel):
        return model.apply({"params": params}, mel)

    return (1 + BACKWARD) * product_flops(forward, params, mel)


def product_flops(function: Callable, *arguments: Any) -> int:
    """Returns the operations of a function's matrix products and convolutions.

    Of the branches of a conditional the largest counts; of forms for several platforms
    (`jax.lax.platform_dependent`) the default; loops whose length is not known count
    once.

    Args:
        function: traceable.
        *arguments: arrays or `jax.ShapeDtypeStruct`.
    """
    return _flops(jax.make_jaxpr(function)(*arguments).jaxpr)


def _flops(jaxpr: Any) -> int:
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        depth = math.prod(shape[axis] for axis in contracted)
        return 2 * equation.outvars[0].aval.size * depth
    if name == "conv_general_dilated":
        # Output features are each computed from one kernel: all of it but that axis.
        kernel = equation.invars[1].aval
        features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        return 2 * equation.outvars[0].aval.size * kernel.size // features
    inner = [_flops(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        return inner[platforms.index(None)] if None in platforms else max(inner)
    return _rounds(name, params) * sum(inner)


def _rounds(name: str, params: dict[str, Any]) -> int:
    """How often what an equation is made of is computed."""
    if name == "scan":
        return params["length"]
    if name == "shard_map":  # within, shapes are those of one device
        return params["mesh"].size
    if name == "pallas_call":  # within, those of one block
        return math.prod(params["grid_mapping"].grid)
    return 1


def _jaxprs(value: Any) -> Iterator[Any]:
    """The programs within an equation's parameter."""
    if hasattr(value, "eqns"):
        yield value
    elif hasattr(value, "jaxpr"):
        yield from _jaxprs(value.jaxpr)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _jaxprs(item)
