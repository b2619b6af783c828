"""DeiT-base, distilled, 384 x 384 pixels: what fPaSST's training starts from.

As PretrainedSED's `models/frame_passt/fpasst.py` (`checkpoint_filter_fn`) makes an audio
transformer of an image transformer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.models.resize import bicubic_matrix
from jaxsed.weights.layouts.rules import Dropped, External, block

TOKENS = 2  # CLS and distillation
FRAMES = 250  # of fPaSST, 40 ms each
CHANNELS, ROWS, COLUMNS = 16, 128, 2  # of fPaSST's patches


def to_fpasst(
    arrays: Mapping[str, np.ndarray], content: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Resizes positions and patch kernel; the rest stays as it is."""
    arrays = dict(arrays)
    if {"pos_embed", "patch_embed.proj.weight"} <= arrays.keys():
        arrays |= _positions(arrays.pop("pos_embed"))
        kernel = arrays["patch_embed.proj.weight"]
        arrays["patch_embed.proj.weight"] = _patch_kernel(kernel)
    return arrays, ["positions and patches of images made into those of sound"]


def _positions(table: np.ndarray) -> dict[str, np.ndarray]:
    """`[1, 2 + h w, d]` to positions of the tokens, of time, and of all frequencies."""
    grid = table[0, TOKENS:].astype(np.float64)
    size = round(len(grid) ** 0.5)
    grid = grid.reshape(size, size, -1)
    column = np.einsum("h,hwd->wd", bicubic_matrix(size, 1)[0], grid)
    time = (bicubic_matrix(size, FRAMES) @ column).astype(np.float32)
    mean = time.mean(axis=0, dtype=np.float64).astype(np.float32)
    return {
        "new_pos_embed": table[:, :TOKENS],
        "time_new_pos_embed": time.T[None, :, None],
        "freq_new_pos_embed": mean[None, :, None, None],
    }


def _patch_kernel(kernel: np.ndarray) -> np.ndarray:
    """`[d, 3, 16, 16]` to `[d, 16, 128, 2]`: colours repeated, 256 pixels as they lie."""
    colours = kernel.shape[1]
    repeated = np.resize(np.arange(colours), CHANNELS)
    scaled = kernel[:, repeated] * np.float32(colours / CHANNELS)
    return scaled.reshape(-1, CHANNELS, ROWS, COLUMNS)


_BLOCKS = block("blocks.{i}", qkv_bias=True)

EXTERNAL = External(
    encoder="fpasst",
    name="DeiT-base distilled 384",
    licence="Apache-2.0",
    dropped=(
        Dropped(r"head(_dist)?\..*", "classifier of ImageNet"),
        Dropped(r"pre_logits\..*", "classifier of ImageNet"),
    ),
    keys=(
        "cls_token",
        "dist_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
        *(rule.numbered(i).key for i in range(12) for rule in _BLOCKS),
        "norm.weight",
        "norm.bias",
    ),
    lacks=r"conv_in_\d\..*",
    adapt=to_fpasst,
)
