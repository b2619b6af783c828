"""A mel spectrogram as an image: stretched in time, and folded like lines of a page.

HTS-AT (Chen et al., 2022, section 2.1.1) cuts the time axis into chunks and lays them below
each other, so that a vision transformer for squares sees mel bins and 10 s of time. Follows
`reshape_wav2img` and `forward` of the original's `model/htsat.py`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError
from jaxsed.models.blocks import layer_norm
from jaxsed.models.initializers import fan_in_uniform
from jaxsed.models.resize import bicubic_matrix
from jaxsed.models.swin import LAYER_NORM_EPSILON

PATCH_FRAMES = PATCH_BINS = 4


@dataclasses.dataclass(frozen=True)
class Folding:
    """How many chunks of how many frames an image has.

    Attributes:
        chunks: Chunks below each other.
        chunk_frames: Frames beside each other.
    """

    chunks: int
    chunk_frames: int

    @property
    def n_frames(self) -> int:
        """Mel frames of an image."""
        return self.chunks * self.chunk_frames

    def fold(self, mel: jax.Array) -> jax.Array:
        """Stretches a spectrogram to the image's frames and folds it.

        Args:
            mel: `[b, t, f]`.

        Returns:
            `[b, chunks, chunk_frames, f]`.

        Raises:
            InputError: If there are more frames than the image has.
        """
        n_clips, n_frames, n_mels = mel.shape
        shape = (n_clips, self.chunks, self.chunk_frames, n_mels)
        if n_frames == self.n_frames:
            return mel.reshape(shape)
        self._check(n_frames)
        chunks = []
        # Every chunk from the frames that it lies over: a quarter of the products.
        for rows in bicubic_matrix(n_frames, self.n_frames, align_corners=True).reshape(
            self.chunks, self.chunk_frames, n_frames
        ):
            read = rows.any(axis=0).nonzero()[0]
            read = slice(read[0], read[-1] + 1)
            matrix = jnp.asarray(rows[:, read], mel.dtype)
            exact = jax.lax.Precision.HIGHEST
            chunks.append(jnp.matmul(matrix, mel[:, read], precision=exact))
        return jnp.stack(chunks, axis=1)

    def stretched(self, mel: jax.Array) -> jax.Array:
        """Stretches clips `[b, t, f]` to the whole image: the original's default.

        A clip of 3 s is then heard at less than a third of its speed, and its numbers
        depend on its length. Classes of short clips can be told, times of events not.

        Raises:
            InputError: If there are more frames than the image has.
        """
        return self.fold(mel).reshape(mel.shape[0], self.n_frames, mel.shape[2])

    def repeated(self, mel: jax.Array) -> jax.Array:
        """Repeats clips `[b, t, f]` as often as they fit, and stretches them to the image.

        What the original calls `infer_mode`: a clip of 3 s is heard three times in a
        row, a little slowed down.

        Raises:
            InputError: If there are more frames than the image has.
        """
        self._check(mel.shape[1])
        times = self.n_frames // mel.shape[1]
        return self.stretched(jnp.tile(mel, (1, times, 1)))

    def overlapping_crops(self, mel: jax.Array) -> list[jax.Array]:
        """Cuts clips that are longer than the image as the original does in inference.

        Of n + 1 frames, crops of n / 2 begin every n / 4, and the original takes the
        means of their *probabilities*. The last one is left out by a comparison that
        is off by one, so that the end of a clip is not heard: of 20 s the last 5 s.
        `jaxsed.audio.windows` is what `jaxsed.Detector` hears long sounds by.

        Args:
            mel: `[b, t, f]`.

        Returns:
            Crops `[b, n_frames, f]`, stretched to the image.

        Raises:
            InputError: If a crop has more frames than the image.
        """
        n_frames = mel.shape[1]
        crop, hop = (n_frames - 1) // 2, (n_frames - 1) // 4
        starts = range(0, n_frames - crop - 1, max(1, hop))
        return [self.stretched(mel[:, start : start + crop]) for start in starts]

    def _check(self, n_frames: int) -> None:
        if not 1 <= n_frames <= self.n_frames:
            raise InputError(
                f"The spectrogram has {n_frames} frames, but the image that it is "
                f"stretched to has {self.n_frames}: cut longer sounds into windows."
            )


class ImagePatches(nn.Module):
    """One dense layer over patches that do not overlap, and a norm.

    Attributes:
        width: Features of a token.
        patch_frames: Frames of a patch.
        dtype: Type to compute in.
    """

    width: int
    patch_frames: int
    dtype: Any

    @nn.compact
    def __call__(self, chunks: jax.Array) -> jax.Array:
        """Maps chunks `[b, k, t, f]` below each other to tokens `[b, h, w, d]`."""
        n_clips, n_chunks, n_frames, n_mels = chunks.shape
        columns, rows = n_frames // self.patch_frames, n_mels // PATCH_BINS
        patch = self.patch_frames, PATCH_BINS
        cut = chunks.astype(self.dtype).reshape(
            n_clips, n_chunks, columns, self.patch_frames, rows, PATCH_BINS
        )
        patches = cut.transpose(0, 1, 4, 2, 3, 5)
        patches = patches.reshape(n_clips, n_chunks * rows, columns, *patch)
        init = fan_in_uniform(self.patch_frames * PATCH_BINS)
        dense = nn.DenseGeneral(
            self.width,
            axis=(-2, -1),
            kernel_init=init,
            bias_init=init,
            dtype=self.dtype,
            name="patch",
        )
        return layer_norm("norm", self.dtype, LAYER_NORM_EPSILON)(dense(patches))
