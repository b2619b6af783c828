"""How patches that may overlap lie over a clip that is always filled up to one length."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxsed.models.tokens import Grid, before


@dataclasses.dataclass(frozen=True)
class PaddedGrid(Grid):
    """The grid of AST: every clip has all tokens, those of padding too.

    AST has a position for each patch of 1024 mel frames. A clip of 10 s gives 998 of
    them; it, and any shorter one, is filled up to 1024 with the value that stands for a
    log-mel of 0, as in the original (`_wav2fbank` in AST's `dataloader.py`), and the
    network attends to all of it. So clips do not depend on what they are padded to in
    their batch, and a short clip costs as much as a long one. A step becomes one frame
    (`joins_rows`), the mean of its rows; columns of padding alone become none.

    Attributes:
        padded_frames: Mel frames that every clip has in the end.
        patch_frames: Mel frames of a patch, at least `frames_per_step`: what is more
            overlaps with the next step.
        patch_bins: Mel bins of a patch.
        bins_per_row: Mel bins from the start of a patch to that of the one above.
        padding_value: What a normalised spectrogram is filled up with.
    """

    padded_frames: int = 1024
    patch_frames: int = 16
    patch_bins: int = 16
    bins_per_row: int = 16
    padding_value: float = 0.0

    @property
    def columns(self) -> int:
        """Tokens over time, of clip and padding."""
        return 1 + (self.padded_frames - self.patch_frames) // self.frames_per_step

    @property
    def reach(self) -> float:
        """Time steps that a token sees, more than its own where patches overlap."""
        return self.patch_frames / self.frames_per_step

    def compressed(self, factor: int, *, wider_steps: bool) -> "PaddedGrid":
        """Returns the grid with fewer steps over the same time; see `Grid`."""
        grid = super().compressed(factor, wider_steps=wider_steps)
        if wider_steps:
            grid = dataclasses.replace(grid, patch_frames=self.patch_frames * factor)
        else:
            grid = dataclasses.replace(grid, padded_frames=self.padded_frames // factor)
        return dataclasses.replace(grid, steps=min(grid.steps, grid.columns))

    def cut(self, mel: jax.Array, n_mel_frames: jax.Array | None = None) -> jax.Array:
        """Groups mel frames into columns; see `Grid`.

        Returns:
            `[b, columns, patch_frames, f]`.
        """
        self.check(mel.shape[1])
        if n_mel_frames is not None:
            mel = self.fill(mel, n_mel_frames)
        lacking = ((0, 0), (0, self.padded_frames - mel.shape[1]), (0, 0))
        mel = jnp.pad(mel, lacking, constant_values=self.padding_value)
        return windows(mel, 1, self.patch_frames, self.frames_per_step)

    def split_rows(self, columns: jax.Array) -> jax.Array:
        """Cuts columns `[b, s, t, f]` into patches, `[b, s, t, rows, patch_bins]`."""
        return windows(columns, 3, self.patch_bins, self.bins_per_row)

    def frames(self, tokens: jax.Array) -> jax.Array:
        """Turns tokens `[b, prefix + s, d]` into `[b, columns, d]`: means over rows."""
        tokens = tokens[:, self.prefix :]
        shape = (len(tokens), self.rows, self.columns, tokens.shape[-1])
        return jnp.mean(tokens.reshape(shape), axis=1)

    def fill(self, mel: jax.Array, n_mel_frames: jax.Array) -> jax.Array:
        """Overwrites padding: `mel [b, t, f]` after each clip's `n_mel_frames [b]`."""
        inside = before(n_mel_frames, mel.shape[1])[..., None]
        return jnp.where(inside, mel, self.padding_value)


def windows(x: jax.Array, axis: int, size: int, stride: int) -> jax.Array:
    """Cuts an axis into windows, which may overlap; what is left at the end is not seen.

    Made of reshaping and joining: gathers are slow on TPUs.

    Args:
        x: `[..., n, ...]`.
        axis: That of n, counted from the front.
        size: Of a window.
        stride: From one window to the next.

    Returns:
        `[..., (n - size) // stride + 1, size, ...]`.
    """
    number = 1 + (x.shape[axis] - size) // stride
    pieces = -(-size // stride)
    n_blocks = number + pieces - 1
    x = jax.lax.slice_in_dim(x, 0, min(n_blocks * stride, x.shape[axis]), axis=axis)
    lacking = [(0, 0)] * x.ndim
    lacking[axis] = (0, n_blocks * stride - x.shape[axis])
    blocks = jnp.pad(x, lacking)
    blocks = blocks.reshape(*x.shape[:axis], n_blocks, stride, *x.shape[axis + 1 :])
    joined = [
        jax.lax.slice_in_dim(blocks, start, start + number, axis=axis)
        for start in range(pieces)
    ]
    joined = jnp.concatenate(joined, axis=axis + 1)
    return jax.lax.slice_in_dim(joined, 0, size, axis=axis + 1)
