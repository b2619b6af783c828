"""HTS-AT (Chen et al., 2022): a Swin transformer over a spectrogram folded to an image.

Follows `model/htsat.py` of RetroCirce/HTS-Audio-Transformer with its `config.py`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxsed.errors import InputError
from jaxsed.models.batch_norm import BatchNorm
from jaxsed.models.blocks import layer_norm
from jaxsed.models.compression import NONE, Compression
from jaxsed.models.encoder import OnGrid
from jaxsed.models.heads import time_mean
from jaxsed.models.spectrogram_image import PATCH_FRAMES, Folding, ImagePatches
from jaxsed.models.swin import LAYER_NORM_EPSILON, PatchMerging, SwinBlock
from jaxsed.models.tokens import Grid, before

SILENCE_DB = -100.0  # what the front-end makes of digital silence

# Images by how many times fewer tokens they have. 10 s are 1001, 501 or 251 mel frames.
# The original has one image, the first; the two others are as near to a square as whole
# chunks allow, with as few seams between chunks.
FOLDINGS = {1: Folding(4, 256), 2: Folding(2, 256), 4: Folding(2, 128)}


@dataclasses.dataclass(frozen=True)
class ImageGrid(Grid):
    """The grid of an encoder that stretches 10 s to the steps of an image.

    `frames_per_step` counts frames of the image, of which there are a few more than mel
    frames in 10 s.
    """

    @property
    def frame_rate_hz(self) -> float:
        """Frames that the encoder gives per second."""
        return self.steps / self.clip_seconds

    def n_steps(self, n_mel_frames):
        """Time steps of clips with so many mel frames, the last one begun."""
        steps = -(-(n_mel_frames - 1) * self.steps // (self.mel_frames - 1))
        if isinstance(steps, int):
            return min(max(steps, 1), self.steps)
        return jnp.clip(steps, 1, self.steps)


# 32 steps of 313 ms; low and high frequencies of a step are one frame.
GRID = ImageGrid(
    mel_frames=1001,
    frames_per_step=32,
    steps=32,
    rows=2,
    joins_rows=True,
    last_frame_is_edge=True,
)


@dataclasses.dataclass(frozen=True)
class HtsAtConfig:
    """Size and options, those of the original's `config.py`.

    Attributes:
        width: Features of a token of the first stage; each further stage has twice as
            many, and a quarter of the tokens.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        window: Side of an attention window in tokens.
        drop_path: Rate of stochastic depth at the last block, rising linearly from 0
            at the first; where the caller passes a `dropout` key only.
    """

    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 8
    drop_path: float = 0.1


FULL = HtsAtConfig()
TINY = HtsAtConfig(width=24, depths=(1, 1, 2, 1), heads=(1, 2, 4, 8))


class HtsAt(OnGrid, nn.Module):
    """Batch norm of mel bins, an image, patches, stages of Swin blocks, a norm.

    Parameters live under `mel_norm`, `embed`, `block_0`, ..., `norm`, and `merge_0`, ...
    between the stages' blocks, which are counted through.

    **Length.** The image always has room for 10 s, at one scale: a shorter clip is filled up
    with silence, as those of AudioSet were in training, and gives the first of the 32
    steps. So a clip's numbers do not depend on what it is padded to, and its events
    stay where they are; it costs as much as one of 10 s. The original stretches a short
    clip to the image, or repeats it first (`infer_mode`), so that a sound is another
    one in a shorter clip. For its numbers, give the encoder a whole image, 1024 mel
    frames: `encoder.folding.stretched(mel)` or `.repeated(mel)`. Longer
    sounds are cut into windows; `.overlapping_crops(mel)` cuts them as the original.

    Attributes:
        config: Size and options.
        dtype: Type to compute in; parameters are float32.
        grid: How its frames lie in time.
        folding: How the image is made of a spectrogram.
        patch_frames: Frames of a patch.
    """

    config: HtsAtConfig = FULL
    dtype: Any = "float32"
    grid: Grid = GRID
    folding: Folding = FOLDINGS[1]
    patch_frames: int = PATCH_FRAMES

    frontend = "htsat"

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return self.grid.rows * self.config.width * 2 ** (len(self.config.depths) - 1)

    @property
    def gives(self) -> tuple[str, ...]:
        """Names in `out` that only some encoders have and that a head may need."""
        return "summary", "steps"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Top-level parameter keys, bottom first."""
        names, n_blocks = ["mel_norm", "embed"], 0
        for stage, depth in enumerate(self.config.depths):
            names += [f"merge_{stage - 1}"] * (stage > 0)
            names += [f"block_{n_blocks + index}" for index in range(depth)]
            n_blocks += depth
        return (*names, "norm")

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Encodes mel spectrograms.

        Args:
            mel: `[b, t, 64]` in dB from the front-end, any length up to `clip_seconds`;
                or a whole image, `folding.n_frames`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's frames are those that it has alone.

        Returns:
            Frames `[b, s, 2 d]`, the lower half of the frequencies first, and by name:
            `image [b, 64 chunks, w]`, `patch` and `block_0`, `merge_0`, ...
            `[b, tokens, d]`, row by row of the image, `tokens`, the last ones after
            the norm, `steps` (the frames), `summary [b, d]`, the mean of a clip's tokens
            in float32, and with `n_mel_frames` also `n_steps`, int `[b]`.

        Raises:
            InputError: If the clip is longer than `clip_seconds`.
        """
        length = mel.shape[1] if n_mel_frames is None else n_mel_frames
        n_steps = self.grid.n_steps(length)
        filled, inside = self._filled(mel, n_mel_frames)
        exact = jnp.promote_types(self.dtype, jnp.float32)
        normed = BatchNorm(dtype=exact, name="mel_norm")(filled, inside)
        chunks = self.folding.fold(normed)
        out = {"image": chunks.swapaxes(2, 3).reshape(len(mel), -1, chunks.shape[2])}
        embed = ImagePatches(
            self.config.width, self.patch_frames, self.dtype, name="embed"
        )
        image = self._transformed(embed(chunks), out)
        image = layer_norm("norm", self.dtype, LAYER_NORM_EPSILON)(image)
        out["tokens"] = _row_by_row(image)
        steps = self._unfolded(image)
        if n_mel_frames is None:
            steps = steps[:, :n_steps]
        else:
            out["n_steps"] = n_steps
            inside = before(n_steps, self.grid.steps)[..., None]
            steps = jnp.where(inside, steps, 0)
        out["steps"] = steps
        mean = time_mean(steps, out.get("n_steps"))
        out["summary"] = mean.reshape(len(mel), self.grid.rows, -1).mean(axis=1)
        return steps, out

    def _filled(self, mel, n_mel_frames):
        """Mel frames of 10 s or of a whole image, and which of them are the clip's."""
        n_frames = mel.shape[1]
        wanted = self.grid.mel_frames
        if n_frames == self.folding.n_frames:
            wanted = n_frames
        else:
            self.grid.check(n_frames)
        if n_mel_frames is None and n_frames == wanted:
            return mel, None
        lengths = jnp.array([n_frames]) if n_mel_frames is None else n_mel_frames
        inside = before(lengths, wanted)[..., None]
        mel = jnp.pad(mel, ((0, 0), (0, wanted - n_frames), (0, 0)))
        return jnp.where(inside, mel, SILENCE_DB), inside

    def _transformed(self, image: jax.Array, out: dict[str, jax.Array]) -> jax.Array:
        """All blocks on an image `[b, h, w, d]`; what they give is put into `out`."""
        config = self.config
        out["patch"] = _row_by_row(image)
        rates = [
            config.drop_path * index / max(1, sum(config.depths) - 1)
            for index in range(sum(config.depths))
        ]
        n_blocks = 0
        for stage, (depth, heads) in enumerate(zip(config.depths, config.heads)):
            if stage > 0:
                name = f"merge_{stage - 1}"
                image = PatchMerging(self.dtype, name=name)(image)
                out[name] = _row_by_row(image)
            for index in range(depth):
                name = f"block_{n_blocks}"
                image = SwinBlock(
                    heads=heads,
                    window=config.window,
                    shifted=index % 2 == 1,
                    dtype=self.dtype,
                    drop_path=rates[n_blocks],
                    name=name,
                )(image)
                out[name] = _row_by_row(image)
                n_blocks += 1
        return image

    def _unfolded(self, image: jax.Array) -> jax.Array:
        """Tokens `[b, h, w, d]` to time steps `[b, s, rows * d]`."""
        n_clips, _, columns, features = image.shape
        rows = self.grid.rows
        shape = (n_clips, self.folding.chunks, rows, columns, features)
        by_step = image.reshape(shape).swapaxes(2, 3)
        return by_step.reshape(n_clips, self.grid.steps, rows * features)


def _row_by_row(image):
    return image.reshape(len(image), -1, image.shape[-1])


def htsat(
    dtype: Any = "float32",
    compression: Compression = NONE,
    config: HtsAtConfig = FULL,
) -> HtsAt:
    """HTS-AT as released: 12 blocks in 4 stages, 27.5 M parameters.

    A compressed one has half or a quarter of the tokens. Fewer mel frames make a smaller
    image of them; wider patches see all frames, in an image whose chunks are as much
    longer. The last stage's window spans the image, so that its tables of relative
    positions are smaller, as the image is.

    Args:
        dtype: Type to compute in.
        compression: In time.
        config: Size.

    Raises:
        InputError: The factor of the compression is neither 2 nor 4.
    """
    if compression.factor not in FOLDINGS:
        raise InputError(
            f"compression={compression}: HTS-AT's image can be halved or quartered, "
            f"into no {compression.factor} parts: use {compression.method}-2 or "
            f"{compression.method}-4"
        )
    folding, patch_frames = FOLDINGS[compression.factor], PATCH_FRAMES
    if compression.widens_patches:
        chunk_frames = folding.chunk_frames * compression.factor
        folding = dataclasses.replace(folding, chunk_frames=chunk_frames)
        patch_frames *= compression.factor
    grid = compression.of_grid(GRID)
    return HtsAt(config, dtype, grid, folding, patch_frames)


def tiny_htsat(dtype: Any = "float32", compression: Compression = NONE) -> HtsAt:
    """The same model small enough to train on a CPU in minutes."""
    return htsat(dtype, compression, TINY)
