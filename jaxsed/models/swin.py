"""Swin transformer blocks (Liu et al., 2021): attention in windows that shift to and fro.

Images of tokens are `[b, h, w, d]`. Follows HTS-AT's `model/htsat.py`, which differs from
the paper in nothing but sizes.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.models.blocks import Mlp, drop, layer_norm
from jaxsed.models.dense import Dense, materialized, row_major
from jaxsed.models.plain_attention import Operands, attend_by_head
from jaxsed.models.windows import Windows, window_bias

LAYER_NORM_EPSILON = 1e-5  # PyTorch's default, which Swin leaves
MLP_RATIO = 4  # hidden features of an MLP by those of a token
INIT_STD = 0.02  # of dense kernels and tables, `_init_weights` of the original
KERNEL_INIT = nn.initializers.normal(INIT_STD)


class WindowAttention(nn.Module):
    """Multi-head self-attention among the tokens of each window.

    Attributes:
        heads: Number of heads.
        window: Side of a window in tokens, at most.
        shifted: Whether windows are shifted by half their side.
        dtype: Type to compute in; parameters are float32.
    """

    heads: int
    window: int
    shifted: bool
    dtype: Any

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps an image `[b, h, w, d]` to `[b, h, w, d]`."""
        width = image.shape[-1]
        windows = Windows.over(image.shape[1:3], self.window, self.shifted)
        dense = functools.partial(Dense, kernel_init=KERNEL_INIT, dtype=self.dtype)
        qkv = dense(3 * width, name="qkv")(windows.rolled(image))
        scale = (width // self.heads) ** -0.5
        # Windows beside heads, and not beside clips: what is added to the scores is
        # then the same for all clips, and is written down once.
        query, key, value = (
            row_major(windows.cut(x, self.heads)) for x in jnp.split(qkv, 3, axis=-1)
        )
        operands = Operands(query * scale, key, value)
        attended = windows.joined(attend_by_head(operands, self._added(windows)))
        return windows.rolled(dense(width, name="proj")(attended), back=True)

    def _added(self, windows: Windows) -> jax.Array:
        """What is added to scores, `[windows * heads, s, s]`."""
        rows, columns = (2 * extent - 1 for extent in windows.size)
        table = self.param("bias_table", KERNEL_INIT, (rows * columns, self.heads))
        bias = window_bias(table, windows.size)
        shape = (windows.count, *bias.shape)
        if windows.shift == (0, 0):
            added = jnp.broadcast_to(bias, shape)
        else:
            added = bias + windows.mask()[:, None]
        return added.reshape(-1, *bias.shape[1:])


class SwinBlock(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))`, on an image of tokens.

    Attributes:
        heads: Number of attention heads.
        window: Side of a window in tokens, at most.
        shifted: Whether windows are shifted by half their side.
        dtype: Type to compute in; parameters are float32.
        drop_path: Rate at which a whole branch is dropped, per clip.
    """

    heads: int
    window: int
    shifted: bool
    dtype: Any
    drop_path: float = 0.0

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps an image `[b, h, w, d]` to `[b, h, w, d]`."""
        width = image.shape[-1]

        def norm(name):
            return layer_norm(name, self.dtype, LAYER_NORM_EPSILON)

        def add(image, branch):
            return image + drop(self, branch, self.drop_path, whole_clip=True)

        attention = WindowAttention(
            self.heads, self.window, self.shifted, self.dtype, name="attn"
        )
        mlp = Mlp(width, MLP_RATIO * width, KERNEL_INIT, self.dtype, name="mlp")
        image = materialized(image)
        image = materialized(add(image, attention(norm("norm1")(image))))
        return add(image, mlp(norm("norm2")(image)))


class PatchMerging(nn.Module):
    """Makes one token of twice the width of every 2 x 2.

    Attributes:
        dtype: Type to compute in; parameters are float32.
    """

    dtype: Any

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        """Maps `[b, h, w, d]` to `[b, h / 2, w / 2, 2 d]`."""
        n_clips, height, width, features = image.shape
        pairs = image.reshape(n_clips, height // 2, 2, width // 2, 2, features)
        # Columns before rows: (0, 0), (1, 0), (0, 1), (1, 1).
        merged = pairs.transpose(0, 1, 3, 4, 2, 5)
        merged = merged.reshape(*merged.shape[:3], 4 * features)
        merged = layer_norm("norm", self.dtype, LAYER_NORM_EPSILON)(merged)
        return Dense(
            2 * features,
            use_bias=False,
            kernel_init=KERNEL_INIT,
            dtype=self.dtype,
            name="reduction",
        )(merged)
