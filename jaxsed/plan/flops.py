"""Model FLOPs: the operations that a training cannot do without.

The numerator of model FLOPs utilisation (Chowdhery et al. 2022, "PaLM", appendix B): two
operations for every multiplication of the model's matrix products and convolutions, once
forward and twice backward (towards the inputs and towards the weights). What a program
computes beside that does not count: front-end, augmentation, softmax and norms, the
optimiser, and whatever is computed a second time. So a program that is made faster by
computing more cannot look better for it: where platforms have forms of their own, the
plain one counts, and of attention the scores, not what a kernel computes around them. Nor does
what a training does without: time steps that patchout hides, gradients of what is frozen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.operations import operations
from jaxsed.stages.cost import looked_at
from jaxsed.stages.program import Draw, init_params
from jaxsed.training.patchout import patchout

BACKWARD = 2  # products in the backward pass for each in the forward pass


def training_flops(
    model: nn.Module,
    clip_seconds: float,
    frozen: Any = None,
    patchout_part: float = 0.0,
    targets: str | None = "frames",
    inputs: Sequence[str] = ("mel",),
    draw: Draw | None = None,
) -> int:
    """Returns the model FLOPs of one training example.

    Args:
        model: what is trained.
        clip_seconds: length of the example.
        frozen: tree of bools like the parameters, from `optim.frozen`: of what is kept as
            it is no gradient is needed, nor of anything below the lowest layer that is
            trained. None: everything is trained.
        patchout_part: of the time steps, not seen by the encoder.
        targets: what the loss looks at, see `stages.cost.clip_operations`.
        inputs: what the model is called with, see `stages.train.Task`.
        draw: what a step draws for that, see there.
    """
    n_samples = round(clip_seconds * model.frontend.sample_rate)
    wave = jax.ShapeDtypeStruct((1, n_samples), "float32")
    mel = jax.eval_shape(model.frontend, wave)
    params = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))

    def forward(params, mel):
        batch, key = {"mel": mel}, jax.random.key(0)
        if draw is not None:
            batch = draw(model, batch, key)
        with patchout(patchout_part, model.encoder, key):
            given = model.apply({"params": params}, *(batch[name] for name in inputs))
        return looked_at(given, targets)

    kept = jax.tree.leaves(frozen)
    if not any(kept):
        return (1 + BACKWARD) * product_flops(forward, params, mel)
    leaves, structure = jax.tree.flatten(params)

    def outputs(trained, others, mel):
        parts = {True: iter(others), False: iter(trained)}
        whole = structure.unflatten([next(parts[is_kept]) for is_kept in kept])
        return forward(whole, mel).astype(jnp.float32).sum()

    split = ([leaf for leaf, k in zip(leaves, kept) if k == part] for part in (0, 1))
    return product_flops(jax.value_and_grad(outputs), *split, mel)


def product_flops(function: Callable, *arguments: Any) -> int:
    """Returns the operations of a function's matrix products and convolutions.

    Two for each multiplication; see `models.operations` for which are counted.

    Args:
        function: traceable.
        *arguments: arrays or `jax.ShapeDtypeStruct`.
    """
    return 2 * operations(function, *arguments).products
