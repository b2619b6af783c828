"""Operations of a forward pass, counted as From Coarse to Fine counts its costs.

What counts is what `torchprofile` counts on the authors' model, which reproduces every
number they print (`tests/golden/published_costs.json`): the multiplications of matrix
products and convolutions, one operation for every attention score, which is scaled, and
one for every element that a LayerNorm gives. Softmax, GELU, additions, batch norms and
the front-end do not count, and neither does the backward pass.

The count is read off the program that JAX traces, at the shapes of one clip and without
an array: what any encoder, compression or head computes is counted as it is written, and
what the loss has no use for (the logits of label frames where labels are of clips) is
left out, as the compiler leaves it out.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jax.interpreters import partial_eval

from jaxsed.models.plain_attention import SCORES


class Operations(NamedTuple):
    """Operations of one clip's forward pass.

    Attributes:
        products: Multiplications of matrix products and convolutions.
        scores: Attention scores, over all heads and layers.
        norms: Elements that LayerNorms give.
    """

    products: int = 0
    scores: int = 0
    norms: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.products + self.scores + self.norms

    @property
    def gflops(self) -> float:
        """In units of 1e9, two for each operation."""
        return 2 * self.total / 1e9

    def times(self, factor: int) -> "Operations":
        """Returns each number `factor` times."""
        return Operations(*(factor * number for number in self))


# What LayerNorms give is called while a program is traced to be counted.
_NORM = "layer_norm_output"


def operations(function: Callable, *arguments: Any) -> Operations:
    """Counts the operations that the outputs of a function need.

    Of the branches of a conditional the largest counts; of forms for several platforms
    (`jax.lax.platform_dependent`) the default; loops whose length is not known count
    once.

    Args:
        function: Traceable; Linen modules may be applied in it.
        *arguments: Arrays or `jax.ShapeDtypeStruct`.
    """

    def anew(*arguments):  # or JAX would remember an earlier trace, without the names
        return function(*arguments)

    with nn.intercept_methods(_name_norms):
        program = jax.make_jaxpr(anew)(*arguments).jaxpr
    needed = [True] * len(program.outvars)
    program, _ = partial_eval.dce_jaxpr(program, needed, instantiate=True)
    return count(program)


def _name_norms(method, args, kwargs, context):
    given = method(*args, **kwargs)
    # By name: Flax's own, and any of ours.
    is_norm = type(context.module).__name__ == nn.LayerNorm.__name__
    if is_norm and context.method_name == "__call__":
        return checkpoint_name(given, _NORM)
    return given


def count(jaxpr: Any) -> Operations:
    """Counts the operations of a traced program, as they stand in it."""
    return _sum(map(_of_equation, jaxpr.eqns))


def _sum(parts: Iterable[Operations]) -> Operations:
    return Operations(*map(sum, zip(*parts, strict=True)))


def _of_equation(equation: Any) -> Operations:
    name, params = equation.primitive.name, equation.params
    given = equation.outvars[0].aval
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        products = given.size * math.prod(shape[axis] for axis in contracted)
        scopes = str(equation.source_info.name_stack).split("/")
        return Operations(products, given.size if SCORES in scopes else 0)
    if name == "conv_general_dilated":
        # Output features are each computed from one kernel: all of it but that axis.
        kernel = equation.invars[1].aval
        features = kernel.shape[params["dimension_numbers"].rhs_spec[0]]
        return Operations(given.size * kernel.size // features)
    if name == "name" and params["name"] == _NORM:
        return Operations(norms=given.size)
    inner = [count(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        if None in platforms:
            return inner[platforms.index(None)]
        return max(inner, key=lambda branch: branch.total)
    return _sum(inner).times(_rounds(name, params))


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
