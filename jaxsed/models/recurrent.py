"""Bidirectional recurrent layers: the GRU of the paper's teachers, and an LSTM.

PyTorch's equations (`nn.GRU`, `nn.LSTM`), as in PretrainedSED's
`models/seq_models.py`: both biases, gates stacked r, z, n (GRU) or i, f, g, o (LSTM).
"""

import functools
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
        features = frames.shape[-1]
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
        if self.kind == "bigru":
            driven = _with_own_bias(driven, hidden_bias)
        else:
            driven = driven + hidden_bias.astype(state_dtype)[:, None]
        driven = _as_scanned(driven[:, 0], driven[:, 1])
        inside = None
        if n_frames is not None:
            # Backwards, the state stays zero until the clip's last frame is reached.
            inside = before(n_frames, frames.shape[1]).T[..., None]
            inside = _as_scanned(inside, inside)
        states = _states(self.kind, dtype, hidden_kernel, driven, inside)
        both = jnp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)
        return both.swapaxes(0, 1).astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _states(kind, dtype, hidden_kernel, driven, inside):
    """States `[s, 2, b, width]` after every frame.

    With a gradient of its own: that of the kernel is a sum over all frames. A scan would
    add it up frame by frame in the type of the products, reading and writing the sum
    each time; here it is one product after the scan, summed in float32.
    """
    advance = _gru if kind == "bigru" else _lstm
    kernel = hidden_kernel.astype(dtype)

    def step(state, now):
        driven_now, inside_now = now
        recurrent = jnp.einsum(
            "zbh,zhg->zbg",
            state[0].astype(dtype),
            kernel,
            preferred_element_type=driven.dtype,
        )
        moved = advance(state, driven_now, recurrent)
        if inside_now is not None:
            moved = tuple(jnp.where(inside_now, *pair) for pair in zip(moved, state))
        return moved, moved[0]

    zeros = jnp.zeros((2, driven.shape[2], kernel.shape[1]), driven.dtype)
    start = (zeros,) if kind == "bigru" else (zeros, zeros)
    return jax.lax.scan(step, start, (driven, inside))[1]


def _states_forward(kind, dtype, hidden_kernel, driven, inside):
    def of_driven(driven):
        return _states.fun(kind, dtype, hidden_kernel, driven, inside)

    states, pull_back = jax.vjp(of_driven, driven)
    return states, (states, pull_back, hidden_kernel)


def _states_backward(kind, dtype, kept, gradient):
    states, pull_back, hidden_kernel = kept
    (to_driven,) = pull_back(gradient)
    to_recurrent = to_driven
    if kind == "bigru":  # what the hidden state is added to, see `_with_own_bias`
        reset, update, _, own = jnp.split(to_driven, 4, axis=-1)
        to_recurrent = jnp.concatenate([reset, update, own], axis=-1)
    before_each = jnp.pad(states[:-1], ((1, 0), (0, 0), (0, 0), (0, 0)))
    to_kernel = jnp.einsum(
        "szbh,szbg->zhg",
        before_each.astype(dtype),
        to_recurrent.astype(dtype),
        preferred_element_type=states.dtype,
    )
    return to_kernel.astype(hidden_kernel.dtype), to_driven, None


_states.defvjp(_states_forward, _states_backward)


def _with_own_bias(driven, bias):
    """Adds the GRU's second bias to what drives it, `[s, 2, b, 4 * width]`.

    It stands beside the recurrent product: of the gates it is added like the first one,
    of the new state it is kept apart, as the reset gate acts on it.
    """
    to_gates, own = jnp.split(
        bias.astype(driven.dtype)[:, None], [2 * bias.shape[1] // 3], -1
    )
    width = own.shape[-1]
    gates = driven[..., : 2 * width] + to_gates
    own = jnp.broadcast_to(own, (*driven.shape[:-1], width))
    return jnp.concatenate([gates, driven[..., 2 * width :], own], axis=-1)


def _as_scanned(forwards, backwards):
    """Puts `[s, b, ...]` of either direction in the order of the scan, `[s, 2, ...]`."""
    return jnp.stack([forwards, backwards[::-1]], axis=1)


def _gru(state, driven, recurrent):
    (hidden,) = state
    driven_r, driven_z, driven_n, own = jnp.split(driven, 4, axis=-1)
    recurrent_r, recurrent_z, recurrent_n = jnp.split(recurrent, 3, axis=-1)
    reset = jax.nn.sigmoid(driven_r + recurrent_r)
    update = jax.nn.sigmoid(driven_z + recurrent_z)
    # The reset gate acts after the product, inside which the second bias stands.
    new = jnp.tanh(driven_n + reset * (own + recurrent_n))
    return ((1 - update) * new + update * hidden,)


def _lstm(state, driven, recurrent):
    _, cell = state
    gate_in, forget, new, gate_out = jnp.split(driven + recurrent, 4, axis=-1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(gate_in) * jnp.tanh(new)
    return jax.nn.sigmoid(gate_out) * jnp.tanh(cell), cell
