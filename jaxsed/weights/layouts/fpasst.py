"""Key layout of frame-level PaSST's checkpoints."""

import numpy as np

from jaxsed.weights.layouts.rules import (
    CONVOLUTION,
    TOKEN,
    TOKENS,
    Family,
    Rule,
    Transform,
    affine,
    block,
    norm,
)

# [1, d, 1, t] to [t, d]
TIME_POSITIONS = Transform(
    "time positions", lambda x: x[0, :, 0].T, lambda x: x.T[None, :, None]
)
# [1, d, 1, 1] to [d]
FREQUENCY_POSITION = Transform(
    "frequency position", lambda x: x[0, :, 0, 0], lambda x: x[None, :, None, None]
)


def _fpasst_patch(x: np.ndarray) -> np.ndarray:
    # The 16 x 128 inputs are the stem's 64 channels x 32 mel rows in the same order.
    width, channels, rows, frames = x.shape
    x = x.reshape(width, channels * rows // 32, 32, frames)
    return x.transpose(3, 2, 1, 0).reshape(-1, width)


def _fpasst_patch_back(x: np.ndarray) -> np.ndarray:
    width = x.shape[-1]
    x = x.reshape(2, 32, -1, width).transpose(3, 2, 1, 0)
    return x.reshape(width, -1, 128, 2)


# [d, 16, 128, 2] to [2 * 32 * 64, d]
FPASST_PATCH = Transform("fpasst patch", _fpasst_patch, _fpasst_patch_back)


FAMILY = Family(
    embedding=(
        *affine("model.conv_in_1", "encoder/embed/stem_0", CONVOLUTION),
        *affine("model.conv_in_2", "encoder/embed/stem_1", CONVOLUTION),
        *affine("model.conv_in_3", "encoder/embed/stem_2", CONVOLUTION),
        *affine("model.patch_embed.proj", "encoder/embed/patch", FPASST_PATCH),
        Rule("model.cls_token", "encoder/embed/cls_token", TOKEN),
        Rule("model.dist_token", "encoder/embed/dist_token", TOKEN),
        Rule("model.new_pos_embed", "encoder/embed/token_positions", TOKENS),
        Rule(
            "model.time_new_pos_embed",
            "encoder/embed/time_positions",
            TIME_POSITIONS,
        ),
        Rule(
            "model.freq_new_pos_embed",
            "encoder/embed/frequency_position",
            FREQUENCY_POSITION,
        ),
        *norm("model.norm", "encoder/norm"),
    ),
    block=block("model.blocks.{i}", qkv_bias=True),
)
