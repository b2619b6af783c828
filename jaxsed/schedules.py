"""Learning rate schedules: a warm-up, then half a cosine, a line, or nothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Schedule = Callable[[jax.typing.ArrayLike], jax.Array]
SCHEDULES = ("cosine", "linear", "constant")


def make_schedule(
    kind: str,
    max_lr: float,
    total_steps: int,
    warmup_steps: int,
    min_lr_factor: float = 0.0,
) -> Schedule:
    """Returns the learning rate of optimiser step i = 0, 1, ...; jit-able.

    Linear from 0 over the warm-up (step 0 changes nothing, as in the released code),
    then to `min_lr_factor * max_lr` at `total_steps` along half a cosine (paper) or a
    line, and constant from there on. Formulas of the `transformers` schedules that
    PretrainedSED uses; a run shorter than its warm-up just stops on the way up.

    Args:
        kind: `cosine`, `linear` or `constant`.
        max_lr: learning rate after the warm-up.
        total_steps: steps of the run.
        warmup_steps: steps of the warm-up.
        min_lr_factor: part of `max_lr` that is left at the end.
    """
    decay_steps = max(total_steps - warmup_steps, 1)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        # Differences of integers: float32 rounds only the quotients below.
        step = jnp.asarray(step, jnp.int32)
        rising = step / max(warmup_steps, 1)
        left = jnp.clip((total_steps - step) / decay_steps, 0.0, 1.0)
        if kind == "cosine":
            # 0.5 (1 + cos(pi (1 - left))), without cancellation near the end.
            left = jnp.square(jnp.sin(0.5 * jnp.pi * left))
        elif kind == "constant":
            left = jnp.ones_like(left)
        falling = min_lr_factor + (1.0 - min_lr_factor) * left
        return max_lr * jnp.where(step < warmup_steps, rising, falling)

    return schedule
