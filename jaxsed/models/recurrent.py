"""Bidirectional recurrent layers: the GRU of the paper's teachers, and an LSTM.

PyTorch's equations (`nn.GRU`, `nn.LSTM`), as in PretrainedSED's
`models/seq_models.py`: both biases, gates stacked r, z, n (GRU) or i, f, g, o (LSTM).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.tokens import before

GATES = {"bigru": 3, "bilstm": 4}


class BidirectionalLayer(nn.Module):
    """One recurrent layer, run forwards and backwards in a single scan.

    The products with the input are taken for all frames at once before the scan,
    which leaves one small matmul per frame in the sequential part.

    Attributes:
        kind: "bigru" or "bilstm".
        width: Size of the state of either direction.
        dtype: Type of the matmuls; the state is float32 or better.
    """

    kind: str
    width: int
    dtype: Any

    @nn.compact
    def __call__(
        self, frames: jax.Array, n_frames: jax.Array | None = None
    ) -> jax.Array:
        """Runs over clips in both directions.

        Args:
            frames: `[b, s, d]`.
            n_frames: int `[b]`, how many of them are the clip's, so that the backward
                direction starts at the clip's own end; None for all.

        Returns:
            `[b, s, 2 * width]`, forwards state first.
        """
        n_clips, _, features = frames.shape
        gates = GATES[self.kind] * self.width
        dtype = jnp.dtype(self.dtype)
        state_dtype = jnp.promote_types(dtype, jnp.float32)
        uniform = fan_in_uniform(self.width)  # of the state, for input kernels too
        # The leading axis of all parameters is the direction: forwards, backwards.
        input_kernel = self.param("input_kernel", uniform, (2, features, gates))
        hidden_kernel = self.param("hidden_kernel", uniform, (2, self.width, gates))
        input_bias = self.param("input_bias", uniform, (2, gates))
        hidden_bias = self.param("hidden_bias", uniform, (2, gates))

        driven = jnp.einsum(
            "bsd,zdg->szbg",
            frames.astype(dtype),
            input_kernel.astype(dtype),
            preferred_element_type=state_dtype,
        )
        driven = driven + input_bias.astype(state_dtype)[:, None]
        driven = _as_scanned(driven[:, 0], driven[:, 1])
        kernel = hidden_kernel.astype(dtype)
        bias = hidden_bias.astype(state_dtype)[:, None]
        advance = _gru if self.kind == "bigru" else _lstm

        def step(state, now):
            driven_now, inside = now
            recurrent = jnp.einsum(
                "zbh,zhg->zbg",
                state[0].astype(dtype),
                kernel,
                preferred_element_type=state_dtype,
            )
            moved = advance(state, driven_now, recurrent + bias)
            if inside is not None:
                moved = tuple(jnp.where(inside, *pair) for pair in zip(moved, state))
            return moved, moved[0]

        zeros = jnp.zeros((2, n_clips, self.width), state_dtype)
        start = (zeros,) if self.kind == "bigru" else (zeros, zeros)
        inside = None
        if n_frames is not None:
            # Backwards, the state stays zero until the clip's last frame is reached.
            inside = before(n_frames, frames.shape[1]).T[..., None]
            inside = _as_scanned(inside, inside)
        _, states = jax.lax.scan(step, start, (driven, inside))
        both = jnp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)
        return both.swapaxes(0, 1).astype(dtype)


def _as_scanned(forwards, backwards):
    """Puts `[s, b, ...]` of either direction in the order of the scan, `[s, 2, ...]`."""
    return jnp.stack([forwards, backwards[::-1]], axis=1)


def _gru(state, driven, recurrent):
    (hidden,) = state
    driven_r, driven_z, driven_n = jnp.split(driven, 3, axis=-1)
    recurrent_r, recurrent_z, recurrent_n = jnp.split(recurrent, 3, axis=-1)
    reset = jax.nn.sigmoid(driven_r + recurrent_r)
    update = jax.nn.sigmoid(driven_z + recurrent_z)
    # The reset gate acts after the product, inside which the second bias stands.
    new = jnp.tanh(driven_n + reset * recurrent_n)
    return ((1 - update) * new + update * hidden,)


def _lstm(state, driven, recurrent):
    _, cell = state
    gate_in, forget, new, gate_out = jnp.split(driven + recurrent, 4, axis=-1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(gate_in) * jnp.tanh(new)
    return jax.nn.sigmoid(gate_out) * jnp.tanh(cell), cell
