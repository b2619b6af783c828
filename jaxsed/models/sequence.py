"""Recurrent sequence models on label frames: the teachers' BiGRU, and a BiLSTM.

PyTorch's equations (`nn.GRU`, `nn.LSTM`), as in PretrainedSED's
`models/seq_models.py`: both biases, gates stacked r, z, n (GRU) or i, f, g, o (LSTM).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.initializers import fan_in_uniform

GATES = {"bigru": 3, "bilstm": 4}


class BidirectionalLayer(nn.Module):
    """One recurrent layer, run forwards and backwards in a single scan.

    The products with the input are taken for all frames at once before the scan,
    which leaves one small matmul per frame in the sequential part.

    Attributes:
        cell: "bigru" or "bilstm".
        width: Size of the state of either direction.
        dtype: Type of the matmuls; the state is float32 or better.
    """

    cell: str
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps `[b, s, d]` to `[b, s, 2 * width]`, forwards state first."""
        n_clips, _, features = frames.shape
        gates = GATES[self.cell] * self.width
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
        driven = jnp.stack([driven[:, 0], driven[::-1, 1]], axis=1)
        kernel = hidden_kernel.astype(dtype)
        bias = hidden_bias.astype(state_dtype)[:, None]
        advance = _gru if self.cell == "bigru" else _lstm

        def step(state, driven_now):
            recurrent = jnp.einsum(
                "zbh,zhg->zbg",
                state[0].astype(dtype),
                kernel,
                preferred_element_type=state_dtype,
            )
            state = advance(state, driven_now, recurrent + bias)
            return state, state[0]

        zeros = jnp.zeros((2, n_clips, self.width), state_dtype)
        start = (zeros,) if self.cell == "bigru" else (zeros, zeros)
        _, states = jax.lax.scan(step, start, driven)
        both = jnp.concatenate([states[:, 0], states[::-1, 1]], axis=-1)
        return both.swapaxes(0, 1).astype(dtype)


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


class SequenceModel(nn.Module):
    """A stack of bidirectional layers; the BiLSTM ends in a dense layer.

    Attributes:
        cell: "bigru" or "bilstm".
        width: Size of the state of either direction.
        layers: Number of layers.
        dtype: Type of the matmuls.
    """

    cell: str
    width: int
    layers: int
    dtype: Any

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        """Maps frames `[b, t, d]` to `[b, t, 2 * width]`."""
        for index in range(self.layers):
            layer = BidirectionalLayer(
                self.cell, self.width, self.dtype, name=f"layer_{index}"
            )
            frames = layer(frames)
        if self.cell == "bilstm":
            init = fan_in_uniform(frames.shape[-1])
            frames = nn.Dense(
                2 * self.width,
                kernel_init=init,
                bias_init=init,
                dtype=self.dtype,
                name="embedding",
            )(frames)
        return frames
