"""Sequence models between encoder and heads, by name.

Recurrent ones are the paper's (PretrainedSED, `models/seq_models.py`), the others those
of its sequel EfficientSED (`models/prediction_wrapper.py`), with the defaults there.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError, check_known
from jaxsed.models.attention import padding_bias
from jaxsed.models.blocks import drop, layer_norm
from jaxsed.models.dense import Dense
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.mamba import EXPANSION, LAYER_NORM_EPSILON, MambaBlock
from jaxsed.models.recurrent import GATES, BidirectionalLayer
from jaxsed.models.rotary import RotaryBlock, dense_init, rms_norm
from jaxsed.models.tokens import before

KINDS = ("bigru", "bilstm", "attention", "transformer", "mamba")
DROPOUT = {"transformer": 0.2}  # tf_drop; the others' default is none


class SequenceModel(nn.Module):
    """A stack of layers over the label frames of a clip.

    "bigru" and "bilstm" see the whole clip, one state either way; the BiLSTM ends in a
    dense layer. "attention" and "transformer" see the whole clip through gated heads
    with rotary positions, the latter with an MLP after each attention and a norm at the
    end. "mamba" is causal. These three begin with a dense layer where the frames are
    not `width` wide.

    Attributes:
        kind: One of `KINDS`.
        width: Size of the state of either direction for the recurrent kinds, which
            give `2 * width` features; number of features for the others, which give
            `width`.
        layers: Number of layers.
        dtype: Type of the matmuls; recurrent states, softmax, norm statistics and all
            of Mamba's layers are float32 or better.
        heads: Heads of each layer (recurrent kinds have none). They divide `width`
            into even parts for attention, and `2 * width` for Mamba. None for
            EfficientSED's choice: 8, or 4 below width 128, for attention; for Mamba
            as many as make 64 features each, 32 up to width 128.
        dropout: Rate, active where the caller passes a `dropout` key: in every layer;
            between layers for the recurrent kinds. None for EfficientSED's choice:
            0.2 for the transformer, else 0.
    """

    kind: str
    width: int
    layers: int
    dtype: Any
    heads: int | None = None
    dropout: float | None = None

    @nn.compact
    def __call__(
        self, frames: jax.Array, n_frames: jax.Array | None = None
    ) -> jax.Array:
        """Runs over label frames.

        Args:
            frames: `[b, t, d]`.
            n_frames: int `[b]`, how many of them are the clip's and not padding; None
                for all. The clip's frames get what they get without padding; what
                those of the padding get is finite and otherwise unspecified.

        Returns:
            `[b, t, 2 * width]` for the recurrent kinds, `[b, t, width]` for the others.

        Raises:
            InputError: If the kind is unknown or `heads` do not fit `width`.
        """
        check_known("sequence model", self.kind, KINDS)
        if self.kind in GATES:
            return self._recurrent(frames, n_frames)
        if self.kind == "mamba":
            return self._mamba(frames)
        return self._rotary(frames, n_frames)

    @property
    def _dropout(self):
        rate = DROPOUT.get(self.kind, 0.0)
        return rate if self.dropout is None else self.dropout

    def _recurrent(self, frames, n_frames):
        for index in range(self.layers):
            if index > 0:
                frames = drop(self, frames, self._dropout)
            frames = BidirectionalLayer(
                self.kind, self.width, self.dtype, name=f"layer_{index}"
            )(frames, n_frames)
        if self.kind == "bigru":
            return frames
        init = fan_in_uniform(frames.shape[-1])
        return Dense(
            2 * self.width,
            kernel_init=init,
            bias_init=init,
            dtype=self.dtype,
            name="embedding",
        )(frames)

    def _rotary(self, frames, n_frames):
        heads = self.heads or (8 if self.width >= 128 else 4)
        if self.width % (2 * heads):
            raise InputError(
                f"The sequence model's width is {self.width}; expected a multiple of "
                f"{2 * heads}, for {heads} heads of an even width each."
            )
        frames = self._embedded(frames, dense_init, nn.initializers.zeros)
        bias = None
        if n_frames is not None:
            bias = padding_bias(before(n_frames, frames.shape[1]))
        for index in range(self.layers):
            frames = RotaryBlock(
                self.width,
                heads,
                self.kind == "transformer",
                self._dropout,
                self.dtype,
                name=f"block_{index}",
            )(frames, bias)
        if self.kind == "attention":
            return frames
        return rms_norm("norm", self.dtype)(frames)

    def _mamba(self, frames):
        inner = EXPANSION * self.width
        heads = self.heads or max(1, inner // (64 if self.width > 128 else 32))
        if inner % heads:
            raise InputError(
                f"The sequence model's width is {self.width}; twice that does not "
                f"divide into {heads} heads. Choose a multiple of 32."
            )
        init = fan_in_uniform(frames.shape[-1])
        frames = self._embedded(frames, init, init)
        # As `MultiLayerModelFp32` there, which EfficientSED needs for stable training.
        exact = jnp.promote_types(jnp.dtype(self.dtype), jnp.float32)
        frames = layer_norm("norm", exact, LAYER_NORM_EPSILON)(frames)
        for index in range(self.layers):
            frames = MambaBlock(
                self.width, heads, self._dropout, exact, name=f"block_{index}"
            )(frames)
        return frames.astype(self.dtype)

    def _embedded(self, frames, kernel_init, bias_init):
        if frames.shape[-1] == self.width:
            return frames
        return Dense(
            self.width,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=self.dtype,
            name="embed",
        )(frames)
