"""The transformer encoder shared by all ViT-like models."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from jaxsed.models.attention import padding_bias
from jaxsed.models.blocks import Block, layer_norm
from jaxsed.models.encoder import OnGrid
from jaxsed.models.tokens import Grid


@dataclasses.dataclass(frozen=True)
class VitConfig:
    """Size and options of a transformer encoder.

    Attributes:
        width: Features of a token.
        depth: Number of blocks.
        heads: Attention heads of a block.
        mlp_width: Hidden features of a block's MLP.
        qkv_bias: Whether query, key and value have a bias.
        init_std: Standard deviation that weights and positions start from.
        dropout: Rate inside the blocks; 0 in all originals.
        drop_path: Rate of stochastic depth at the last block, rising linearly from 0
            at the first; 0 in all originals.
        dropped: Blocks at the top that are left out; the others are as with them.
    """

    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp_width: int = 3072
    qkv_bias: bool = True
    init_std: float = 0.02
    dropout: float = 0.0
    drop_path: float = 0.0
    dropped: int = 0

    @property
    def n_blocks(self) -> int:
        """Number of blocks that are there."""
        return self.depth - self.dropped

    @property
    def kernel_init(self) -> nn.initializers.Initializer:
        """Initialiser of dense kernels, positions and tokens.

        timm's `trunc_normal_` cuts at the absolute values -2 and 2, which a standard
        deviation of 0.02 never reaches: a plain normal distribution.
        """
        return nn.initializers.normal(self.init_std)


class Hidden(NamedTuple):
    """Patches that an encoder is not to see, in pre-training.

    Attributes:
        where: bool `[b, steps, rows]`.
        token: What stands in their place, before positions are added, `[d]`.
    """

    where: jax.Array
    token: jax.Array


class VisionTransformer(OnGrid, nn.Module):
    """Embedding, a stack of pre-norm blocks, and a final norm.

    Parameters live under `embed`, `block_0`, `block_1`, ... and `norm`.

    Attributes:
        embed: Module `(mel [b, t, f], n_mel_frames [b] or None) -> (tokens
            [b, prefix + s, d], out)`: all that differs between encoders.
            It takes a `Hidden` as a third argument if the encoder is to be given one.
        grid: How its tokens lie in time and frequency.
        config: Size and options.
        frontend: Name of the front-end preset that makes its mel spectrograms.
        dtype: Type to compute in; parameters are float32.
    """

    embed: nn.Module
    grid: Grid
    config: VitConfig
    frontend: str
    dtype: Any = "float32"

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return self.config.width * (self.grid.rows if self.grid.joins_rows else 1)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Top-level parameter keys, bottom first.

        For layer-wise learning rate decay the originals count `embed` to the first
        block and `norm` to the last one.
        """
        blocks = tuple(f"block_{index}" for index in range(self.config.n_blocks))
        return ("embed", *blocks, "norm")

    @nn.compact
    def __call__(
        self,
        mel: jax.Array,
        n_mel_frames: jax.Array | None = None,
        hidden: Hidden | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Encodes mel spectrograms.

        Args:
            mel: `[b, t, f]` from the front-end, any length up to `clip_seconds`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's frames are those that it has alone.
            hidden: Patches that are not to be seen; None for none.

        Returns:
            Frames `[b, s, d]` and all intermediates by name: those of the embedding,
            `block_0`, `block_1`, ... and `norm [b, prefix + s, d]`.

        Raises:
            InputError: If the clip is longer than `clip_seconds`.
        """
        inputs = (mel, n_mel_frames) if hidden is None else (mel, n_mel_frames, hidden)
        tokens, out = self.embed(*inputs)
        n_steps = self.grid.n_steps(mel.shape[1])
        bias = self.attention_bias(n_mel_frames, n_steps)
        out |= transformed(tokens, bias, self.config, self.dtype)
        frames, summaries = self.summed_up(out["norm"], n_steps)
        return frames, out | summaries

    @nn.nowrap
    def attention_bias(
        self, n_mel_frames: jax.Array | None, n_steps: int
    ) -> jax.Array | None:
        """Returns what the blocks are told of padding, as `attend` takes it."""
        if n_mel_frames is None:
            return None
        return padding_bias(self.grid.valid_tokens(n_mel_frames, n_steps))

    @nn.nowrap
    def summed_up(
        self, tokens: jax.Array, n_steps: int
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns frames `[b, s, d]` and other outputs by name, of the normed tokens."""
        return self.grid.frames(tokens), {}


def transformed(
    tokens: jax.Array, bias: jax.Array | None, config: VitConfig, dtype: Any
) -> dict[str, jax.Array]:
    """Makes and applies blocks and final norm, within a module that they are layers of.

    Args:
        tokens: `[b, s, d]`, embedded.
        bias: As in `attend`.
        config: Number and size of the blocks.
        dtype: Type to compute in.

    Returns:
        Tokens `[b, s, d]` after each: `block_0`, `block_1`, ..., `norm`.
    """
    out = {}
    for index in range(config.n_blocks):
        name = f"block_{index}"
        tokens = out[name] = Block(
            width=config.width,
            heads=config.heads,
            mlp_width=config.mlp_width,
            qkv_bias=config.qkv_bias,
            kernel_init=config.kernel_init,
            dtype=dtype,
            dropout=config.dropout,
            drop_path=config.drop_path * index / max(1, config.depth - 1),
            name=name,
        )(tokens, bias)
    out["norm"] = layer_norm("norm", dtype)(tokens)
    return out
