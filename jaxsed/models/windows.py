"""Windows over an image of tokens, and what is added to attention scores within them.

Images of tokens are `[b, h, w, d]`. Follows `model/htsat.py` of HTS-AT, which is as in Swin
(Liu et al., 2021, section 3.2).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.models.relative_bias import toeplitz

# Added to the score of two tokens that only the shift made neighbours, as in the
# original: their weight rounds to nothing.
MASKED = -100.0


@dataclasses.dataclass(frozen=True)
class Windows:
    """How windows lie over an image of tokens; heights before widths.

    Attributes:
        image: Size of the image.
        size: Size of a window, which divides that of the image.
        shift: How far the image is rolled up and to the left before it is cut.
    """

    image: tuple[int, int]
    size: tuple[int, int]
    shift: tuple[int, int] = (0, 0)

    @classmethod
    def over(cls, image: tuple[int, int], largest: int, shifted: bool) -> "Windows":
        """Lays windows over an image.

        Where the image is no larger than a window, one window spans it and there is
        nothing to shift: the original's rule for squares, along each axis.

        Args:
            image: Size of the image.
            largest: Side of a window.
            shifted: Whether windows are shifted by half their side.
        """
        size = tuple(min(largest, extent) for extent in image)
        shift = tuple(
            largest // 2 if shifted and extent > largest else 0 for extent in image
        )
        return cls(image, size, shift)

    @property
    def count(self) -> int:
        """Number of windows."""
        rows, columns = self._numbers
        return rows * columns

    @property
    def tokens(self) -> int:
        """Tokens of a window."""
        return self.size[0] * self.size[1]

    @property
    def _numbers(self) -> tuple[int, int]:
        return self.image[0] // self.size[0], self.image[1] // self.size[1]

    def cut(self, features: jax.Array, heads: int) -> jax.Array:
        """Takes features apart by window and head, `[b, windows * heads, s, e]`.

        Args:
            features: `[b, h, w, heads * e]`.
            heads: Number of attention heads.
        """
        (rows, columns), (height, width) = self._numbers, self.size
        n_clips = features.shape[0]
        shape = (n_clips, rows, height, columns, width, heads, -1)
        by_window = features.reshape(shape).transpose(0, 1, 3, 5, 2, 4, 6)
        return by_window.reshape(n_clips, self.count * heads, self.tokens, -1)

    def joined(self, by_window: jax.Array) -> jax.Array:
        """The way back: `[b, windows * heads, s, e]` to `[b, h, w, heads * e]`."""
        (rows, columns), (height, width) = self._numbers, self.size
        n_clips, n_parts, _, features = by_window.shape
        heads = n_parts // self.count
        shape = (n_clips, rows, columns, heads, height, width, features)
        image = by_window.reshape(shape).transpose(0, 1, 4, 2, 5, 3, 6)
        return image.reshape(n_clips, *self.image, heads * features)

    def rolled(self, image: jax.Array, back: bool = False) -> jax.Array:
        """Rolls an image `[b, h, w, d]` by the shift, or back."""
        if self.shift == (0, 0):
            return image
        shift = self.shift if back else tuple(-tokens for tokens in self.shift)
        return jnp.roll(image, shift, axis=(1, 2))

    def mask(self) -> np.ndarray:
        """What is added to scores: float32 `[windows, s, s]`, 0 or `MASKED`.

        A rolled image has tokens from its one edge beside those from the other.
        """
        below, beside = (
            np.arange(extent) >= extent - shift
            for extent, shift in zip(self.image, self.shift)
        )
        region = 2 * below[:, None] + beside
        (rows, columns), (height, width) = self._numbers, self.size
        region = region.reshape(rows, height, columns, width).swapaxes(1, 2)
        region = region.reshape(self.count, self.tokens)
        strangers = region[:, :, None] != region[:, None]
        return np.where(strangers, MASKED, 0.0).astype(np.float32)


def window_bias(table: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Looks a table of relative positions up for all pairs of a window's tokens.

    Without an index, so that its gradient is made of sums and not a scatter.

    Args:
        table: `[(2 h - 1) * (2 w - 1), heads]`; rows by how far the query is below the
            key, from `1 - h` on, and then by how far it is to the right of it.
        size: Height h and width w of the window.

    Returns:
        `[heads, s, s]` with `s = h * w`, queries before keys.
    """
    height, width = size
    table = table.T.reshape(-1, 2 * height - 1, 2 * width - 1)
    by_column = jnp.moveaxis(toeplitz(_diagonals(table)), 1, -1)
    pairs = toeplitz(_diagonals(by_column))  # heads, columns of both, rows of both
    pairs = pairs.transpose(0, 3, 1, 4, 2)
    return pairs.reshape(-1, height * width, height * width)


def _diagonals(offsets: jax.Array) -> jax.Array:
    """`[..., 2 n - 1]` by query minus key to what `toeplitz` reads, `[..., 2 n]`."""
    size = (offsets.shape[-1] + 1) // 2
    keys_ahead = offsets[..., ::-1]
    from_zero, below = keys_ahead[..., size - 1 :], keys_ahead[..., : size - 1]
    unread = jnp.zeros_like(offsets[..., :1])
    return jnp.concatenate([from_zero, unread, below], axis=-1)


def position_index(size: tuple[int, int]) -> np.ndarray:
    """Which row of `window_bias`'s table is of which pair of tokens: int `[s, s]`."""
    height, width = size
    row, column = np.indices(size).reshape(2, -1)
    below = row[:, None] - row + height - 1
    beside = column[:, None] - column + width - 1
    return below * (2 * width - 1) + beside
