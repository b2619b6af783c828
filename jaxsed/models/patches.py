"""Patches of a mel spectrogram as tokens, CLS in front, learned positions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.resize import bicubic_matrix, bilinear_matrix
from jaxsed.models.tokens import Grid
from jaxsed.models.vit import Hidden, VitConfig

PATCH_BINS = 16  # mel bins of the patches of most encoders
PREFIX = ("cls_token", "dist_token")  # what stands in front, as many as the grid says


class PatchEmbed(nn.Module):
    """One dense layer over patches, tokens in front, positions.

    Attributes:
        grid: How patches and tokens lie.
        config: Size of the encoder.
        dtype: Type to compute in.
        prefix_std: Standard deviation that the tokens in front start from.
        stored_grid: See `positions_on_grid`.
    """

    grid: Grid
    config: VitConfig
    dtype: Any
    prefix_std: float = 0.02
    stored_grid: tuple[int, int] | None = None

    @nn.compact
    def __call__(
        self,
        mel: jax.Array,
        n_mel_frames: jax.Array | None = None,
        hidden: Hidden | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Embeds mel spectrograms.

        Args:
            mel: `[b, t, f]`.
            n_mel_frames: int `[b]`, or None for all.
            hidden: Patches that are not to be seen; None for none.

        Returns:
            Tokens `[b, prefix + s, d]` and `{"patch": [b, s, d]}`, before positions.

        Raises:
            InputError: If the clip is longer than 10 s.
        """
        grid, width = self.grid, self.config.width
        patch = self._patches(mel, n_mel_frames)
        seen = patch
        if hidden is not None:
            seen = jnp.where(hidden.where[..., None], hidden.token, patch)
            seen = seen.astype(self.dtype)
        names = PREFIX[: grid.prefix]
        init = nn.initializers.normal(self.prefix_std)
        prefix = jnp.stack([self.param(name, init, (width,)) for name in names])
        rows, columns = self.stored_grid or (grid.rows, grid.columns)
        shape = (grid.prefix + rows * columns, width)
        positions = self.param("positions", self.config.kernel_init, shape)

        first, others = positions_on_grid(positions, grid, self.stored_grid)
        tokens = seen + others[: patch.shape[1]].astype(self.dtype)
        prefix = (prefix + first).astype(self.dtype)
        prefix = jnp.broadcast_to(prefix, (mel.shape[0], *prefix.shape))
        tokens = jnp.concatenate([prefix, grid.arrange(tokens)], axis=1)
        return tokens, {"patch": grid.arrange(patch)}

    def _patches(self, mel, n_mel_frames):
        """Mel `[b, t, f]` to `[b, steps, rows, d]`."""
        steps = self.grid.cut(mel, n_mel_frames).astype(self.dtype)
        patches = self.grid.split_rows(steps)
        init = fan_in_uniform(patches.shape[-3] * patches.shape[-1])
        dense = nn.DenseGeneral(
            self.config.width,
            axis=(-3, -1),
            kernel_init=init,
            bias_init=init,
            dtype=self.dtype,
            name="patch",
        )
        return dense(patches)


def positions_on_grid(
    positions: jax.Array, grid: Grid, stored_grid: tuple[int, int] | None = None
) -> tuple[jax.Array, jax.Array]:
    """Lays a table of positions out in time and frequency.

    Args:
        positions: `[prefix + n, d]`.
        grid: How the tokens lie.
        stored_grid: The table's own height and width where it was learned on another
            grid; it is then resized to time steps (height) and rows (width). None if
            it has a position for each token, in the order of the tokens.

    Returns:
        Positions of the tokens in front, `[prefix, d]`, and of the others,
        `[steps, rows, d]`.
    """
    first, table = positions[: grid.prefix], positions[grid.prefix :]
    if stored_grid is not None:
        height, width = stored_grid
        times = jnp.asarray(_stored_times(height, grid), table.dtype)
        rows = jnp.asarray(bicubic_matrix(width, grid.rows), table.dtype)
        table = table.reshape(height, width, -1)
        resized = jnp.einsum(
            "th,fw,hwd->tfd", times, rows, table, precision=jax.lax.Precision.HIGHEST
        )
        return first, resized
    if grid.time_major:
        return first, table.reshape(grid.columns, grid.rows, -1)
    return first, table.reshape(grid.rows, grid.columns, -1).swapaxes(0, 1)


def _stored_times(height: int, grid: Grid) -> np.ndarray:
    """Stored rows to steps, `[steps, height]`: by way of the steps at full resolution.

    So that a time has its position whatever the compression, and the same table serves
    all of them.
    """
    if grid.factor == 1:
        return bicubic_matrix(height, grid.steps)
    full = bicubic_matrix(height, grid.full_steps)
    return bilinear_matrix(grid.full_steps, grid.steps, scale=grid.factor) @ full
