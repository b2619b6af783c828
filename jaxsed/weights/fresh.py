"""Parameters that a checkpoint does not hold, made as the model itself would make them."""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.models.heads import HEADS as HEAD_KINDS

HEADS = ("strong_head", "weak_head")
# What a layer multiplies by: the token-semantic head has taps over time.
KERNELS = ("kernel", "taps")
HOW = "drawn"  # what a report says first of a parameter that was drawn


def drawn(path: str, shapes: dict[str, tuple[int, ...]], seed: int) -> np.ndarray:
    """Draws a kernel or bias of a dense layer or convolution, or a norm in front of one.

    A norm begins with scale 1 and bias 0. The others are uniform in +-1/sqrt(fan_in), as
    `models.initializers.fan_in_uniform`, but with NumPy: the same on every machine, and
    nothing has to be compiled.

    Args:
        path: Of the parameter, ending in `bias`, one of `KERNELS` or, of norms, `scale`.
        shapes: Of all parameters by path.
        seed: Together with `path` it decides the numbers.

    Returns:
        float32 array of the shape at `path`.
    """
    folder, _, name = path.rpartition("/")
    if folder.endswith("/norm"):
        return np.full(shapes[path], name == "scale", np.float32)
    (kernel,) = _kernels(folder, shapes)
    bound = math.prod(shapes[kernel][:-1]) ** -0.5
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    return rng.uniform(-bound, bound, shapes[path]).astype(np.float32)


def can_draw(path: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Says whether a parameter starts that way: heads and convolutional stems do."""
    folder, _, name = path.rpartition("/")
    if folder in [f"{head}/norm" for head in HEADS]:
        return name in ("scale", "bias")
    is_such = folder in HEADS or "/stem_" in folder
    return is_such and name in ("bias", *KERNELS) and any(_kernels(folder, shapes))


def _kernels(folder: str, shapes) -> list[str]:
    return [f"{folder}/{name}" for name in KERNELS if f"{folder}/{name}" in shapes]


def drawn_heads(fresh: Mapping[str, str]) -> list[str]:
    """Says which heads know no class yet, as the model's checkpoint had none.

    Args:
        fresh: How each parameter that the checkpoint did not hold was made, by path; in
            a model's description `provenance["fresh"]`.
    """
    drawn = {
        path.partition("/")[0] for path, how in fresh.items() if how.startswith(HOW)
    }
    return [head for head in HEADS if head in drawn]


def guessing_heads(
    description: Mapping[str, Any], targets: str = "frames"
) -> list[str]:
    """Says which heads make a guess of a model's scores, as nothing has trained them.

    Args:
        description: Of the model, as in `model.json`.
        targets: Whose scores: those of `frames`, or of a clip as a whole (`clip`).
    """
    head = HEAD_KINDS[description.get("head", "linear")]
    strong, weak = HEADS
    asked = {weak if targets == "clip" else strong}
    if head.clips_pass_frames if targets == "clip" else head.frames_pass_clips:
        asked = {strong, weak}
    drawn = drawn_heads(description["provenance"].get("fresh", {}))
    return [name for name in drawn if name in asked]
