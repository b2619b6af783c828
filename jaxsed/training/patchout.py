"""Patchout: time steps that the encoder does not see in training, to learn and to save.

Koutini et al. 2022, "Efficient training of audio transformers with patchout", section
2.2. From outside, as `training.remat`: what the embedding gives is thinned out, and what
the last layer gives is filled up again, so that nothing behind the encoder needs to know.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError

EMBED, NORM = "embed", "norm"  # first and last layer of what it can be done to


class Thinning:
    """Which time steps of a grid are seen, and the way there and back.

    Args:
        grid: `models.tokens.Grid` of the encoder.
        n_steps: time steps of the clips.
        n_seen: how many of them are seen.
        key: draws which, for the whole batch: all clips have as many tokens.
    """

    def __init__(self, grid: Any, n_steps: int, n_seen: int, key: jax.Array):
        self._grid, self._n_steps, self._n_seen = grid, n_steps, n_seen
        self._steps = jnp.sort(jax.random.permutation(key, n_steps)[:n_seen])

    def thin(self, tokens: jax.Array) -> jax.Array:
        """Returns the tokens `[b, prefix + s, d]` of the steps that are seen."""
        prefix, body = self._split(tokens, self._n_steps)
        return self._joined(prefix, body[:, :, self._steps])

    def fill(self, tokens: jax.Array) -> jax.Array:
        """Returns all tokens again: those of steps not seen are the mean of the others.

        So the mean over time, which clip logits are made of, is that of what was seen.
        """
        prefix, body = self._split(tokens, self._n_seen)
        mean = body.mean(axis=2, keepdims=True, dtype=jnp.float32).astype(body.dtype)
        shape = (*body.shape[:2], self._n_steps, body.shape[3])
        filled = jnp.broadcast_to(mean, shape).at[:, :, self._steps].set(body)
        return self._joined(prefix, filled)

    def _split(self, tokens: jax.Array, n_steps: int) -> tuple[jax.Array, jax.Array]:
        """Returns the tokens in front, and the others as `[b, rows, steps, d]`."""
        grid = self._grid
        prefix, body = tokens[:, : grid.prefix], tokens[:, grid.prefix :]
        axes = (n_steps, grid.rows) if grid.time_major else (grid.rows, n_steps)
        body = body.reshape(body.shape[0], *axes, body.shape[-1])
        return prefix, body.swapaxes(1, 2) if grid.time_major else body

    def _joined(self, prefix: jax.Array, body: jax.Array) -> jax.Array:
        if self._grid.time_major:
            body = body.swapaxes(1, 2)
        body = body.reshape(body.shape[0], -1, body.shape[-1])
        return jnp.concatenate([prefix, body], axis=1)


@contextlib.contextmanager
def patchout(part: float, encoder: Any, key: jax.Array | None) -> Iterator[None]:
    """Within it, the model that is applied sees but a part of every clip's time.

    Enter it before `remat.layers`, whose layers are computed twice.

    Args:
        part: of the time steps, to be left out; from 0 (nothing happens) to less than 1.
        encoder: the attribute `encoder` of the module that is applied.
        key: draws which steps, the same ones for all clips of the batch; None where no
            model is applied within it.

    Raises:
        InputError: `part` is out of range, or the encoder is not a plain vision
            transformer: relative positions and convolutions take tokens that follow each
            other for neighbours.
    """
    if not part:
        yield
        return
    if not 0 < part < 1:
        raise InputError(f"patchout={part}: expected a part from 0 to less than 1")
    layers = encoder.layer_names
    if (layers[0], layers[-1]) != (EMBED, NORM):
        raise InputError(
            f"patchout={part}: this encoder cannot do without some of its tokens; set "
            "it to 0, or take a plain vision transformer such as fpasst"
        )
    thinning = None
    inside = False  # remat's second call comes by here, too

    def intercept(call, args, kwargs, context):
        nonlocal inside, thinning
        path = context.module.path
        is_end = path in (("encoder", EMBED), ("encoder", NORM))
        if inside or not is_end or context.method_name != "__call__":
            return call(*args, **kwargs)
        inside = True
        try:
            given = call(*args, **kwargs)
        finally:
            inside = False
        if path[1] == NORM:
            return thinning.fill(given)
        tokens, named = given
        # Not from the clip's length: there may be steps that are padding.
        n_steps = (tokens.shape[1] - encoder.grid.prefix) // encoder.grid.rows
        n_seen = n_steps - int(n_steps * part)
        thinning = Thinning(encoder.grid, n_steps, n_seen, key)
        return thinning.thin(tokens), named

    with nn.intercept_methods(intercept):
        yield
