"""Key layout of HTS-AT's checkpoints: the `state_dict` of its authors' Lightning module."""

from collections.abc import Mapping

import numpy as np

from jaxsed.weights.layouts.m2d import PATCH
from jaxsed.weights.layouts.rules import (
    DENSE,
    Dropped,
    Family,
    Rule,
    Transform,
    affine,
    norm,
)

# [c, d, low and high, taps] to [taps, low and high beside each other, c]
TOKEN_SEMANTIC = Transform(
    "token-semantic convolution",
    lambda x: x.transpose(3, 2, 1, 0).reshape(x.shape[3], -1, x.shape[0]),
    lambda x: x.reshape(x.shape[0], 2, -1, x.shape[2]).transpose(3, 2, 1, 0),
)

MODEL = "sed_model"
DEPTHS = (
    2,
    2,
    6,
    2,
)  # blocks of each stage, `htsat_depth` of the original's `config.py`
WINDOW = 8  # `htsat_window_size` there
STFT = f"{MODEL}.spectrogram_extractor.stft"
MEL = f"{MODEL}.logmel_extractor.melW"
# Rows of the last stage's tables -> its image, which is its window as well.
LAST_IMAGES = {15 * 15: (8, 8), 7 * 15: (4, 8), 7 * 7: (4, 4)}


def _blocks() -> list[tuple[int, int]]:
    """Stage and number within it, of each block."""
    return [
        (stage, index) for stage, depth in enumerate(DEPTHS) for index in range(depth)
    ]


def _key(stage: int, index: int) -> str:
    return f"{MODEL}.layers.{stage}.blocks.{index}"


def _block(number: int, stage: int, index: int) -> tuple[Rule, ...]:
    key, path = _key(stage, index), f"encoder/block_{number}"
    return (
        *norm(f"{key}.norm1", f"{path}/norm1"),
        Rule(f"{key}.attn.relative_position_bias_table", f"{path}/attn/bias_table"),
        *affine(f"{key}.attn.qkv", f"{path}/attn/qkv"),
        *affine(f"{key}.attn.proj", f"{path}/attn/proj"),
        *norm(f"{key}.norm2", f"{path}/norm2"),
        *affine(f"{key}.mlp.fc1", f"{path}/mlp/fc1"),
        *affine(f"{key}.mlp.fc2", f"{path}/mlp/fc2"),
    )


def _merging(stage: int) -> tuple[Rule, ...]:
    key, path = f"{MODEL}.layers.{stage}.downsample", f"encoder/merge_{stage}"
    return (
        Rule(f"{key}.reduction.weight", f"{path}/reduction/kernel", DENSE),
        *norm(f"{key}.norm", f"{path}/norm"),
    )


def derived(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What tensors of a checkpoint have to hold that are no weights, by key.

    Files that differ were made for another front-end (the authors have some for 16 and
    48 kHz) or another geometry.

    Args:
        arrays: By key of the released layout; the tables of the last stage tell the
            size of the image.
    """
    from jaxsed.frontends import stft
    from jaxsed.frontends.presets import PRESETS
    from jaxsed.models.windows import Windows, position_index

    preset = PRESETS["htsat"]
    cosines, sines = stft.windowed_sines(preset.window())
    made = {
        f"{STFT}.conv_real.weight": cosines.T[:, None],
        f"{STFT}.conv_imag.weight": -sines.T[:, None],
        MEL: preset.bank(),
    }
    last = len(DEPTHS) - 1
    table = arrays.get(f"{_key(last, 0)}.attn.relative_position_bias_table")
    if np.shape(table)[:1] not in {(rows,) for rows in LAST_IMAGES}:
        return made
    for stage, index in _blocks():
        image = tuple(n << (last - stage) for n in LAST_IMAGES[len(table)])
        windows = Windows.over(image, WINDOW, shifted=index % 2 == 1)
        key = _key(stage, index)
        made[f"{key}.attn.relative_position_index"] = position_index(windows.size)
        if any(windows.shift):
            made[f"{key}.attn_mask"] = windows.mask()
    return made


FAMILY = Family(
    embedding=(
        *norm(f"{MODEL}.bn0", "encoder/mel_norm"),
        Rule(f"{MODEL}.bn0.running_mean", "encoder/mel_norm/mean"),
        Rule(f"{MODEL}.bn0.running_var", "encoder/mel_norm/var"),
        *affine(f"{MODEL}.patch_embed.proj", "encoder/embed/patch", PATCH),
        *norm(f"{MODEL}.patch_embed.norm", "encoder/embed/norm"),
        *(
            rule
            for number, place in enumerate(_blocks())
            for rule in _block(number, *place)
        ),
        *(rule for stage in range(len(DEPTHS) - 1) for rule in _merging(stage)),
        *norm(f"{MODEL}.norm", "encoder/norm"),
    ),
    block=(),
    depth=0,
    dropped=(
        Dropped(
            r"sed_model\.(spectrogram_extractor\.stft\.conv_(real|imag)\.weight|"
            r"logmel_extractor\.melW)",
            "Fourier kernels and filterbank, which the front-end computes itself",
        ),
        Dropped(
            r"sed_model\.layers\..+\.(relative_position_index|attn_mask)",
            "follows from how windows lie, which the encoder computes itself",
        ),
        Dropped(
            r"sed_model\.bn0\.num_batches_tracked",
            "counts batches for an average without momentum, which this is not",
        ),
        Dropped(
            r"sed_model\.head\.(weight|bias)",
            "a layer on top of the classes that the original never calls",
        ),
    ),
    licence="MIT (HTS-AT)",
    head="token_semantic",
    weak_head=(
        Rule(f"{MODEL}.tscam_conv.weight", "weak_head/taps", TOKEN_SEMANTIC),
        Rule(f"{MODEL}.tscam_conv.bias", "weak_head/bias"),
    ),
    derived=derived,
)
