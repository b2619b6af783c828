"""Frame-level MobileNets: convolutions alone, for machines without an accelerator.

MobileNetV3 (Howard et al., 2019, table 1) as EfficientAT trains it on audio (Schmid et
al., 2023), with strides that leave a frame every 40 ms and one row over frequency.
Follows PretrainedSED's `models/frame_mn/model.py`.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from jaxsed.models.compression import NONE, Compression, refuse_patches
from jaxsed.models.encoder import OnGrid
from jaxsed.models.mobile_blocks import ConvNorm, InvertedResidual, rounded_channels
from jaxsed.models.tokens import Grid

# The frequency axis ends with one row; a step of 40 ms is one frame.
GRID = Grid(mel_frames=1000, frames_per_step=4, steps=250)
FIRST_CHANNELS = 16  # of the first convolution, before they are multiplied
LAST_EXPANSION = 6  # channels of the last layer by those of the last block


@dataclasses.dataclass(frozen=True)
class Bottleneck:
    """A row of the paper's table 1, before channels are multiplied.

    Attributes:
        kernel: Size of the depthwise kernel.
        hidden: Channels inside.
        channels: Channels out.
        squeezes: Whether there is a squeeze-and-excitation.
        activation: "relu" or "hard_swish".
        strides: In time and in frequency.
    """

    kernel: int
    hidden: int
    channels: int
    squeezes: bool
    activation: str
    strides: tuple[int, int] = (1, 1)


# Table 1, MobileNetV3-Large; strides from `_mobilenet_v3_conf` of the original.
LARGE = (
    Bottleneck(3, 16, 16, False, "relu"),
    Bottleneck(3, 64, 24, False, "relu", (2, 2)),
    Bottleneck(3, 72, 24, False, "relu", (1, 2)),
    Bottleneck(5, 72, 40, True, "relu"),
    Bottleneck(5, 120, 40, True, "relu"),
    Bottleneck(5, 120, 40, True, "relu", (1, 2)),
    Bottleneck(3, 240, 80, False, "hard_swish"),
    Bottleneck(3, 200, 80, False, "hard_swish", (1, 2)),
    Bottleneck(3, 184, 80, False, "hard_swish"),
    Bottleneck(3, 184, 80, False, "hard_swish"),
    Bottleneck(3, 480, 112, True, "hard_swish", (1, 2)),
    Bottleneck(3, 672, 112, True, "hard_swish"),
    Bottleneck(5, 672, 160, True, "hard_swish"),
    Bottleneck(5, 960, 160, True, "hard_swish"),
    Bottleneck(5, 960, 160, True, "hard_swish", (1, 2)),
)
# One row of every kind, with longer strides over frequency.
TINY = (
    Bottleneck(3, 16, 16, False, "relu", (2, 4)),
    Bottleneck(5, 32, 16, True, "relu", (1, 4)),
    Bottleneck(3, 48, 16, True, "hard_swish"),
    Bottleneck(3, 48, 16, False, "hard_swish", (1, 4)),
)


class FrameMobileNet(OnGrid, nn.Module):
    """A strided convolution, inverted residuals, and a last widening.

    Parameters live under `block_0` (the first convolution), `block_1`, ... (`rows`) and
    one more block (the last layer), numbered as the original's `features`.

    Attributes:
        rows: The inverted residuals.
        width_multiplier: Factor of all their channels.
        grid: How its frames lie in time.
        frontend: Name of the front-end preset that makes its mel spectrograms.
        dtype: Type to compute in; parameters are float32.
    """

    rows: tuple[Bottleneck, ...] = LARGE
    width_multiplier: float = 1.0
    grid: Grid = GRID
    frontend: str = "frame_mn"
    dtype: Any = "float32"

    @property
    def width(self) -> int:
        """Number of features of an output frame."""
        return LAST_EXPANSION * self._scaled(self.rows[-1].channels)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Top-level parameter keys, bottom first, each a layer of layer-wise decay.

        The original has none for this encoder: its `separate_params` expects the
        parameters of a transformer and raises.
        """
        return tuple(f"block_{index}" for index in range(len(self.rows) + 2))

    @nn.compact
    def __call__(
        self, mel: jax.Array, n_mel_frames: jax.Array | None = None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Encodes mel spectrograms.

        Args:
            mel: `[b, t, 128]` from the front-end, any length up to `clip_seconds`.
            n_mel_frames: int `[b]`, how many of them are the clip's and not padding;
                None for all. A clip's frames are those that it has alone.

        Returns:
            Frames `[b, s, d]` and `block_0`, `block_1`, ... `[b, t', f', c]`.

        Raises:
            InputError: If the clip is longer than `clip_seconds`.
        """
        self.grid.check(mel.shape[1])
        first, *inner, last = self.layer_names
        image, length, out = mel[..., None].astype(self.dtype), n_mel_frames, {}
        image, length = ConvNorm(
            self._scaled(FIRST_CHANNELS),
            kernel=3,
            strides=(2, 2),
            activation=nn.hard_swish,
            dtype=self.dtype,
            name=first,
        )(image, length)
        out[first] = image
        for name, row in zip(inner, self.rows):
            image, length = InvertedResidual(
                kernel=row.kernel,
                hidden=self._scaled(row.hidden),
                channels=self._scaled(row.channels),
                squeezes=row.squeezes,
                activation=getattr(nn, row.activation),
                strides=row.strides,
                dtype=self.dtype,
                name=name,
            )(image, length)
            out[name] = image
        image, _ = ConvNorm(
            self.width, activation=nn.hard_swish, dtype=self.dtype, name=last
        )(image, length)
        out[last] = image
        return image[:, :, 0], out

    def _scaled(self, channels: int) -> int:
        return rounded_channels(channels * self.width_multiplier)


def frame_mn(
    dtype: Any,
    compression: Compression,
    rows: tuple[Bottleneck, ...] = LARGE,
    width_multiplier: float = 1.0,
) -> FrameMobileNet:
    """A frame-level MobileNet of any size.

    Raises:
        InputError: The compression is one of patches.
    """
    refuse_patches(compression, "frame_mn", "has none: its layers are all convolutions")
    grid = compression.of_grid(GRID)
    return FrameMobileNet(rows, width_multiplier, grid, dtype=dtype)


def frame_mn06(
    dtype: Any = "float32", compression: Compression = NONE
) -> FrameMobileNet:
    """Channels times 0.6: 1.1 M parameters."""
    return frame_mn(dtype, compression, width_multiplier=0.6)


def frame_mn10(
    dtype: Any = "float32", compression: Compression = NONE
) -> FrameMobileNet:
    """MobileNetV3-Large: 3.0 M parameters."""
    return frame_mn(dtype, compression)


def tiny_frame_mn06(
    dtype: Any = "float32", compression: Compression = NONE
) -> FrameMobileNet:
    """Few blocks of few channels, those times 0.6."""
    return frame_mn(dtype, compression, TINY, width_multiplier=0.6)


def tiny_frame_mn10(
    dtype: Any = "float32", compression: Compression = NONE
) -> FrameMobileNet:
    """Few blocks of few channels: small enough to train on a CPU in minutes."""
    return frame_mn(dtype, compression, TINY)
