"""Parameters that a checkpoint does not hold, drawn as the model itself would draw them."""

import math
import zlib
from collections.abc import Mapping

import numpy as np

HEADS = ("strong_head", "weak_head")
HOW = "drawn"  # what a report says first of a parameter that was drawn


def drawn(path: str, shapes: dict[str, tuple[int, ...]], seed: int) -> np.ndarray:
    """Draws a kernel or bias of a dense layer or convolution.

    Uniform in +-1/sqrt(fan_in), as `models.initializers.fan_in_uniform`, but with NumPy:
    the same on every machine, and nothing has to be compiled.

    Args:
        path: Of the parameter, ending in `kernel` or `bias`.
        shapes: Of all parameters by path.
        seed: Together with `path` it decides the numbers.

    Returns:
        float32 array of the shape at `path`.
    """
    kernel = path.rpartition("/")[0] + "/kernel"
    bound = math.prod(shapes[kernel][:-1]) ** -0.5
    rng = np.random.default_rng([seed, zlib.crc32(path.encode())])
    return rng.uniform(-bound, bound, shapes[path]).astype(np.float32)


def can_draw(path: str, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Says whether a parameter starts that way: heads and convolutional stems do."""
    folder, _, name = path.rpartition("/")
    is_such = folder in HEADS or "/stem_" in folder
    return is_such and name in ("kernel", "bias") and f"{folder}/kernel" in shapes


def heads_are_drawn(fresh: Mapping[str, str]) -> bool:
    """Says whether a model knows no class yet, as its checkpoint had no head.

    Args:
        fresh: How each parameter that the checkpoint did not hold was made, by path; in
            a model's description `provenance["fresh"]`.
    """
    return any(
        path.startswith(HEADS) and how.startswith(HOW) for path, how in fresh.items()
    )
