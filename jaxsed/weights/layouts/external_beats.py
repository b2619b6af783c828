"""BEATs' checkpoints as their authors published them (microsoft/unilm/beats).

`{"cfg": ..., "model": ...}`; fine-tuned ones have a `predictor` and say in `label_dict`
which of AudioSet's classes each of its outputs is.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.weights.layouts.rules import Dropped, External

# What a `cfg` may say of the network that no shape tells (`models/beats/BEATs.py` in
# PretrainedSED): with other values the same tensors compute something else.
SETTINGS = {
    "activation_fn": "gelu",
    "layer_norm_first": False,
    "deep_norm": True,
    "max_distance": 800,
}


def adapted(
    arrays: Mapping[str, np.ndarray], content: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays with a weak head, and what was done; see `with_weak_head`.

    Raises:
        InputError: The file is of a BEATs with other settings than ours.
    """
    config = content.get("cfg") if isinstance(content, dict) else None
    for name, ours in SETTINGS.items() if isinstance(config, dict) else ():
        value = config.get(name, ours)
        if isinstance(value, (int, str)) and value != ours:
            raise InputError(
                f"its cfg says {name}={str(value)[:40]}; jaxsed's BEATs, as the original "
                f"that it was compared with, has {ours}"
            )
    return with_weak_head(arrays, content)


def with_weak_head(
    arrays: Mapping[str, np.ndarray], content: Any
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Makes a weak head of the predictor, in the order of AudioSet's class list.

    The original averages the predictor's outputs over time, which is linear: the same
    as a weak head's.
    """
    arrays = dict(arrays)
    order = _order(content, arrays.get("predictor.bias"))
    if order is None or "predictor.weight" not in arrays:
        return arrays, []
    for name in ("weight", "bias"):
        array = arrays.pop(f"predictor.{name}")
        if array.ndim == 0 or len(array) != len(order):
            return dict(arrays) | {f"predictor.{name}": array}, []
        arrays[f"weak_head.{name}"] = array[order]
    return arrays, [
        "weak head = BEATs' predictor, classes brought into the order of audioset_527"
    ]


def _order(content: Any, bias: np.ndarray | None) -> np.ndarray | None:
    """For each class of AudioSet the predictor's output; None if that is not known."""
    labels = content.get("label_dict") if isinstance(content, dict) else None
    classes = vocab.load("audioset_527").mids
    if not isinstance(labels, dict) or bias is None or bias.shape != (len(classes),):
        return None
    outputs = {mid: index for index, mid in labels.items() if isinstance(mid, str)}
    order = [outputs.get(mid) for mid in classes]
    if sorted(i for i in order if isinstance(i, int)) != list(range(len(classes))):
        return None
    return np.array(order)


EXTERNAL = External(
    encoder="beats",
    name="BEATs of its authors",
    licence="MIT",
    dropped=(
        Dropped(
            r"predictor\..*",
            "classifier without a label_dict that says which class is which",
        ),
    ),
    fine_tuned=r"predictor\..*",
    adapt=adapted,
)
