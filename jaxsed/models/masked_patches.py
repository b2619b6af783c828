"""Masked spectrogram patch modelling: an encoder that predicts patches it cannot see.

SSAST (Gong et al., AAAI 2022); `mpc` and `mpg` in the original's
`src/models/ast_models.py`. Two forward passes share everything but their masks and the
head on top: the discriminative pass tells hidden patches apart, the generative one
reconstructs them.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS, Preset
from jaxsed.models.compression import NONE, Compression
from jaxsed.models.dense import Dense
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.padded_grid import PaddedGrid
from jaxsed.models.vit import Hidden

MASKED_PATCHES = (
    "masked_patches"  # in configs and `model.json`: what stands on the encoder
)
PASSES = ("discriminative", "generative")
PATCH_HEADS = tuple(f"{name}_head" for name in PASSES)  # keys of parameters


class MaskedPatchModel(nn.Module):
    """An encoder with what it is pre-trained with; it knows no classes.

    Parameters live under `encoder`, as in a `SoundEventModel`, and in `mask_token` (put
    in the place of hidden patches, before positions are added), `discriminative_head`
    and `generative_head`.

    Attributes:
        encoder: A `SpectrogramTransformer` whose patches do not overlap.
        compression: Of the encoder.
        dtype: Type of the matmuls; parameters are float32.
    """

    encoder: nn.Module
    compression: Compression = NONE
    dtype: Any = "float32"

    @property
    def frontend(self) -> Preset:
        """The front-end, callable `wave [b, n] -> mel [b, t, f]`."""
        return self.compression.of_preset(PRESETS[self.encoder.frontend])

    @property
    def patches(self) -> tuple[int, int]:
        """Rows over frequency and columns over time; row 0 has the lowest bins."""
        return self.encoder.grid.rows, self.encoder.grid.columns

    @nn.compact
    def __call__(
        self, mel: jax.Array, hidden: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Predicts hidden patches from those that are left to see.

        Args:
            mel: `[b, t, f]` from `frontend`.
            hidden: int `[b, 2, k]`, patches that the discriminative and the generative
                pass hide, numbered `row * columns + column`; None for patch 0 alone.

        Returns:
            Predicted values `[b, 2, k, v]`, and by name: the encoder's intermediates
            `[2 b, ...]`, both passes of a clip one after the other, and the `true`
            values `[b, 2, k, v]`.
        """
        grid, width = self.encoder.grid, self.encoder.config.width
        true = patch_values(mel, grid)
        if hidden is None:
            hidden = jnp.zeros((mel.shape[0], len(PASSES), 1), jnp.int32)
        # Standard deviation of torch's `xavier_normal_` for [1, 1, width].
        init = nn.initializers.normal(width**-0.5)
        mask_token = self.param("mask_token", init, (width,))
        number = hidden.reshape(-1, hidden.shape[-1])
        clips = jnp.arange(len(number))[:, None]
        where = (
            jnp.zeros((len(number), true.shape[1]), bool).at[clips, number].set(True)
        )
        where = where.reshape(-1, *self.patches).swapaxes(1, 2)
        # One call for both passes: half the program to compile.
        twice = jnp.repeat(mel, len(PASSES), axis=0)
        _, out = self.encoder(twice, hidden=Hidden(where, mask_token))
        tokens = out["norm"][:, grid.prefix :]
        tokens = jnp.take_along_axis(tokens, number[..., None], axis=1)
        tokens = tokens.reshape(*hidden.shape, width)
        predicted = [
            PatchHead(true.shape[-1], self.dtype, name=name)(tokens[:, index])
            for index, name in enumerate(PATCH_HEADS)
        ]
        true = jnp.take_along_axis(true[:, None], hidden[..., None], axis=2)
        return jnp.stack(predicted, axis=1), {**out, "true": true}


class PatchHead(nn.Module):
    """From a token to the values of its patch: two dense layers around a ReLU.

    Attributes:
        n_values: Mel bins times mel frames of a patch.
        dtype: Type to compute in.
    """

    n_values: int
    dtype: Any

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps `[..., d]` to `[..., n_values]`."""
        width = tokens.shape[-1]
        init = fan_in_uniform(width)  # torch's own, of kernels and biases
        options = {"kernel_init": init, "bias_init": init, "dtype": self.dtype}
        inside = nn.relu(Dense(width, name="fc1", **options)(tokens))
        return Dense(self.n_values, name="fc2", **options)(inside)


def patch_values(mel: jax.Array, grid: PaddedGrid) -> jax.Array:
    """Returns the values of all patches, row by row of the frequency axis.

    Args:
        mel: `[b, t, f]`; filled up as the encoder does.
        grid: How patches lie.

    Returns:
        `[b, rows * columns, v]`, v over mel bins and then over mel frames, as torch's
        `Unfold` orders them.
    """
    patches = grid.split_rows(grid.cut(mel))
    n_clips, n_columns, n_frames, n_rows, n_bins = patches.shape
    patches = patches.transpose(0, 3, 1, 4, 2)
    return patches.reshape(n_clips, n_rows * n_columns, n_bins * n_frames)


def masked_patch_model(
    name: str,
    encoder: nn.Module,
    sequence: str,
    compression: Compression,
    dtype: Any,
) -> MaskedPatchModel:
    """Puts an encoder under the head of pre-training.

    Args:
        name: Of the encoder, for messages.
        encoder: The encoder.
        sequence: "none".
        compression: Of the encoder.
        dtype: Type of the matmuls.

    Raises:
        InputError: The encoder has no patches that can be hidden one by one: none, or
            such that overlap, where a patch could be read off its neighbours; or there
            is a sequence model.
    """
    grid = encoder.grid
    if (
        not isinstance(grid, PaddedGrid)
        or grid.patch_frames != grid.frames_per_step
        or grid.patch_bins != grid.bins_per_row
    ):
        raise InputError(
            f"the head {MASKED_PATCHES!r} needs patches that do not overlap, which the "
            f"encoder {name!r} does not have: use ssast, ssast_frame or ast_s16"
        )
    if sequence != "none":
        raise InputError(
            f"sequence={sequence}: there is none in pre-training; set it to none"
        )
    return MaskedPatchModel(encoder, compression, dtype)
