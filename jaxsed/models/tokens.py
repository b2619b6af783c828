"""How an encoder's tokens lie over a mel spectrogram, in clips of any length."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError
from jaxsed.models.resize import bilinear_matrix

MEL_FRAMES_PER_SECOND = 100  # a hop of 10 ms in all front-ends, uncompressed


@dataclasses.dataclass(frozen=True)
class Grid:
    """Time steps, rows over frequency, and tokens in front.

    A clip shorter than the longest one has fewer steps; what it lacks to its last
    whole step is filled up. Methods take the number of mel frames as an int (all clips
    of a batch alike) or as an array `[b]` (clips padded to a common length).

    Attributes:
        mel_frames: Mel frames of the longest clip, 10 s.
        frames_per_step: Mel frames in a time step.
        steps: Time steps of the longest clip; mel frames beyond them are not seen.
        rows: Tokens over frequency in a step.
        time_major: The rows of a step follow each other; else the steps of a row.
        prefix: Tokens in front of the grid (CLS and the like).
        keeps_prefix: They are among the frames that the encoder gives.
        joins_rows: The rows of a step are one frame, their features concatenated.
        last_frame_is_edge: The clip ends *on* its last mel frame (a centred STFT),
            which then needs no step of its own.
        fills_with_zeros: Incomplete steps are filled up with zeros; else with the
            clip's last frame.
        mel_frames_per_second: Of the spectrogram.
        factor: How many steps at full resolution one step is; 1 for an encoder that is
            not compressed.
        full_steps: Steps of the longest clip at full resolution; 0 for `steps`.
        label_frames: Label frames that the frames of the longest clip are spread over,
            where its last step ends behind the clip; 0 for those of the clip.
    """

    mel_frames: int
    frames_per_step: int
    steps: int
    rows: int = 1
    time_major: bool = True
    prefix: int = 0
    keeps_prefix: bool = False
    joins_rows: bool = False
    last_frame_is_edge: bool = False
    fills_with_zeros: bool = False
    mel_frames_per_second: float = MEL_FRAMES_PER_SECOND
    factor: int = 1
    full_steps: int = 0
    label_frames: int = 0

    @property
    def columns(self) -> int:
        """Tokens over time; see `PaddedGrid` for more of them than steps."""
        return self.steps

    @property
    def reach(self) -> float:
        """Time steps that a token sees, from the beginning of its own on."""
        return 1.0

    def compressed(self, factor: int, *, wider_steps: bool) -> "Grid":
        """Returns the grid with fewer steps over the same time.

        The last step may reach beyond those at full resolution: 62 of them are 16 at
        a factor of 4, and `refined` leaves the last two out.

        Args:
            factor: C, how many steps become one.
            wider_steps: A step has C times as many mel frames; else there are C times
                fewer mel frames.
        """
        thinner = 1 if wider_steps else factor
        return dataclasses.replace(
            self,
            mel_frames=-(-self.mel_frames // thinner),
            mel_frames_per_second=self.mel_frames_per_second / thinner,
            frames_per_step=self.frames_per_step * factor // thinner,
            steps=-(-self.steps // factor),
            factor=self.factor * factor,
            full_steps=self.full_steps or self.steps,
        )

    @property
    def clip_seconds(self) -> float:
        """Longest clip, 10 s; front-ends differ in a frame or two at its end."""
        return round(self.mel_frames / self.mel_frames_per_second, 1)

    @property
    def frame_rate_hz(self) -> float:
        """Frames that the encoder gives per second."""
        per_step = 1 if self.joins_rows else self.rows
        return self.mel_frames_per_second / self.frames_per_step * per_step

    def check(self, n_mel_frames: int) -> None:
        """Refuses clips that are longer than the encoder has positions for.

        Raises:
            InputError: If there are more than `mel_frames`.
        """
        if n_mel_frames > self.mel_frames:
            seconds = n_mel_frames / self.mel_frames_per_second
            raise InputError(
                f"The clip is {seconds:g} s long ({n_mel_frames} mel frames), but the "
                f"encoder has positions for {self.clip_seconds:g} s; cut longer audio "
                f"into windows of at most {self.clip_seconds:g} s."
            )

    def n_steps(self, n_mel_frames):
        """Time steps of clips with so many mel frames."""
        seen = n_mel_frames - self.last_frame_is_edge
        steps = -(-seen // self.frames_per_step)
        if isinstance(steps, int):
            return min(max(steps, 1), self.steps)
        return jnp.clip(steps, 1, self.steps)

    def n_frames(self, n_mel_frames):
        """Frames that the encoder gives for clips with so many mel frames."""
        rows = 1 if self.joins_rows else self.rows
        return self.prefix * self.keeps_prefix + rows * self.n_steps(n_mel_frames)

    def cut(self, mel: jax.Array, n_mel_frames: jax.Array | None = None) -> jax.Array:
        """Groups mel frames into time steps.

        Args:
            mel: `[b, t, f]`.
            n_mel_frames: int `[b]`, or None for all.

        Returns:
            `[b, steps, frames_per_step, f]`.

        Raises:
            InputError: If the clip is too long.
        """
        self.check(mel.shape[1])
        n_steps = self.n_steps(mel.shape[1])
        wanted = n_steps * self.frames_per_step
        if n_mel_frames is not None:
            mel = self.fill(mel, n_mel_frames)
        mode = "constant" if self.fills_with_zeros else "edge"
        lacking = ((0, 0), (0, max(0, wanted - mel.shape[1])), (0, 0))
        mel = jnp.pad(mel[:, :wanted], lacking, mode=mode)
        return mel.reshape(mel.shape[0], n_steps, self.frames_per_step, mel.shape[-1])

    def split_rows(self, steps: jax.Array) -> jax.Array:
        """Cuts steps `[b, s, t, f]` into patches, `[b, s, t, rows, bins]`."""
        return steps.reshape(*steps.shape[:3], self.rows, -1)

    def fill(self, mel: jax.Array, n_mel_frames: jax.Array) -> jax.Array:
        """Overwrites padding: `mel [b, t, f]` after each clip's `n_mel_frames [b]`."""
        inside = before(n_mel_frames, mel.shape[1])[..., None]
        if self.fills_with_zeros:
            return jnp.where(inside, mel, 0)
        last = jnp.take_along_axis(mel, n_mel_frames[:, None, None] - 1, axis=1)
        return jnp.where(inside, mel, last)

    def arrange(self, tokens: jax.Array) -> jax.Array:
        """Puts tokens `[b, steps, rows, d]` in the encoder's order, `[b, s, d]`."""
        if not self.time_major:
            tokens = tokens.swapaxes(1, 2)
        return tokens.reshape(tokens.shape[0], -1, tokens.shape[-1])

    def valid_tokens(self, n_mel_frames: jax.Array, n_steps: int) -> jax.Array:
        """Which tokens belong to the clip and not to its padding.

        Args:
            n_mel_frames: int `[b]`.
            n_steps: Time steps of the padded clip.

        Returns:
            bool `[b, prefix + rows * n_steps]`.
        """
        valid = before(self.n_steps(n_mel_frames), n_steps)
        repeat = jnp.repeat if self.time_major else _tile
        valid = repeat(valid, self.rows, axis=1)
        return jnp.pad(valid, ((0, 0), (self.prefix, 0)), constant_values=True)

    def frames(self, tokens: jax.Array) -> jax.Array:
        """Turns tokens `[b, prefix + s, d]` into the frames that the encoder gives."""
        if not self.keeps_prefix:
            tokens = tokens[:, self.prefix :]
        if not self.joins_rows:
            return tokens
        n_clips, n_tokens, width = tokens.shape
        if self.time_major:
            return tokens.reshape(n_clips, n_tokens // self.rows, self.rows * width)
        rows = tokens.reshape(n_clips, self.rows, n_tokens // self.rows, width)
        return rows.swapaxes(1, 2).reshape(n_clips, -1, self.rows * width)

    def extended(self, frames: jax.Array, n_mel_frames) -> jax.Array:
        """Repeats a clip's last step to the end of the longest clip.

        So that a short clip is aligned to label frames by the same weights as a long
        one.

        Args:
            frames: `[b, s, d]`.
            n_mel_frames: Of the clips, int or int `[b]`.

        Returns:
            `[b, n_frames(mel_frames), d]`; `frames` itself where all clips are long.
        """
        n_steps = self.n_steps(n_mel_frames)
        if isinstance(n_steps, int) and n_steps == self.steps:
            return frames
        rows = 1 if self.joins_rows else self.rows
        kept = self.prefix * self.keeps_prefix
        step, row = np.divmod(np.arange(self.steps * rows), rows)
        if isinstance(n_steps, int):
            index = np.minimum(step, n_steps - 1) * rows + row + kept
            return frames[:, np.concatenate([np.arange(kept), index])]
        index = jnp.minimum(step, n_steps[:, None] - 1) * rows + row + kept
        index = jnp.pad(index, ((0, 0), (kept, 0)))
        index = index.at[:, :kept].set(np.arange(kept))
        return jnp.take_along_axis(frames, index[..., None], axis=1)

    def refined(self, frames: jax.Array) -> jax.Array:
        """Interpolates steps to those at full resolution, each row on its own.

        So that label frames see the rows, and hear at the times, that they do without
        compression: heads keep their meaning from one resolution to the other.

        Args:
            frames: `[b, s, d]` of the longest clip.

        Returns:
            `[b, prefix kept + rows * full_steps, d]`; `frames` itself where nothing is
            compressed.
        """
        if self.factor == 1:
            return frames
        kept = self.prefix * self.keeps_prefix
        first, others = frames[:, :kept], frames[:, kept:]
        matrix = bilinear_matrix(
            self.steps,
            self.full_steps,
            scale=1 / self.factor,
            middle=self.reach / 2,
        )
        refined = jnp.einsum(
            "ns,bsrd->bnrd",
            jnp.asarray(matrix, frames.dtype),
            others.reshape(len(frames), self.steps, -1, frames.shape[-1]),
            precision=jax.lax.Precision.HIGHEST,
        )
        refined = refined.reshape(len(frames), -1, frames.shape[-1])
        return jnp.concatenate([first, refined], axis=1)


def before(counts: jax.Array, length: int) -> jax.Array:
    """Marks the first `counts [b]` of `length` positions: bool `[b, length]`."""
    return jnp.arange(length) < counts[:, None]


def strided(length: jax.Array | None, stride: int) -> jax.Array | None:
    """Length `[b]` of clips after a convolution of that stride; None stays None."""
    return None if length is None else -(-length // stride)


def silenced(image: jax.Array, length: jax.Array | None) -> jax.Array:
    """Zeroes what lies after the end of a clip, as a convolution sees it alone.

    Args:
        image: `[b, t, f, c]`.
        length: int `[b]`, how many of t are the clip's; None for all.
    """
    if length is None:
        return image
    return jnp.where(before(length, image.shape[1])[:, :, None, None], image, 0)


def _tile(x, times, axis):
    return jnp.concatenate([x] * times, axis=axis)
