"""Rematerialisation: computing activations again in the backward pass, for memory.

Works on any encoder that names its layers, from outside: a call of a layer is
intercepted and made through `flax.linen.remat`. The model knows nothing of it, and its
parameters keep their names.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax

from jaxsed.errors import check_known


def _results_of_products(primitive, *arguments, **options) -> bool:
    # The dense layer is a function with a gradient of its own, its product inside.
    return primitive.name == "custom_vjp_call" or (
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable(
            primitive, *arguments, **options
        )
    )


# What of a layer is kept for the backward pass, besides what went into it.
POLICIES = {
    # Results of dense layers and kernels; norms, activations, softmax are computed again.
    "dots": _results_of_products,
    # Nothing: the forward pass of each layer is done twice.
    "blocks": jax.checkpoint_policies.nothing_saveable,
}


@contextlib.contextmanager
def layers(policy: str, names: Sequence[str]) -> Iterator[None]:
    """Within it, calls of an encoder's layers follow a policy.

    Layers that take anything else than arrays are left alone.

    Args:
        policy: "none", or of `POLICIES`.
        names: the encoder's `layer_names`; it is the attribute `encoder` of the module
            that is applied.

    Raises:
        InputError: unknown policy.
    """
    check_known("remat", policy, ("none", *POLICIES))
    if policy == "none":
        yield
        return
    paths = {("encoder", name) for name in names}
    inside = False  # the call that remat makes comes by here, too

    def intercept(call, args, kwargs, context):
        nonlocal inside
        module = context.module
        is_layer = module.path in paths and context.method_name == "__call__"
        if inside or not is_layer or not _are_arrays((args, kwargs)):
            return call(*args, **kwargs)
        inside = True
        try:
            again = nn.remat(type(module).__call__, policy=POLICIES[policy])
            return again(module, *args, **kwargs)
        finally:
            inside = False

    with nn.intercept_methods(intercept):
        yield


def _are_arrays(tree: Any) -> bool:
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Fixed:
    """A bool that stays one where a tree of variables is traced.

    Attributes:
        value: the bool.
    """

    value: bool

    def __bool__(self) -> bool:
        return self.value
