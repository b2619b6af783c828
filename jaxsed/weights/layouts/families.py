"""The key layouts of released checkpoints, by encoder.

A family of checkpoints is one file here; nothing else knows its keys. Layouts are those
of the files released with PretrainedSED (`models/prediction_wrapper.py`). NumPy only.
"""

from collections.abc import Iterable

from jaxsed.errors import InputError
from jaxsed.weights.layouts import asit, atst_frame, beats, fpasst, frame_mn, m2d
from jaxsed.weights.layouts.heads import (
    EMBEDDING_AFTER_LSTM,
    RECURRENT_LAYER,
    RECURRENT_NAME,
    STRONG_HEAD,
    WEAK_HEAD,
)
from jaxsed.weights.layouts.rules import Family, Rule

FAMILIES: dict[str, Family] = {
    "atst_frame": atst_frame.FAMILY,
    "beats": beats.FAMILY,
    "fpasst": fpasst.FAMILY,
    "m2d": m2d.FAMILY,
    "asit": asit.FAMILY,
    "frame_mn06": frame_mn.FAMILY,
    "frame_mn10": frame_mn.FAMILY,
}


def rules_for(encoder_name: str, names: Iterable[str]) -> list[Rule]:
    """All rules that apply, numbered and in the order of the network.

    The encoder's are always among them; those of sequence model and heads are where
    any of their names occurs, as pre-trained files come without them.

    Args:
        encoder_name: A key of `FAMILIES`.
        names: Keys of a checkpoint, or paths of our parameters.

    Returns:
        One rule for each key of a complete checkpoint.

    Raises:
        InputError: If the encoder has no released checkpoints.
    """
    if encoder_name not in FAMILIES:
        raise InputError(
            f"There is no released checkpoint layout for encoder '{encoder_name}'; "
            f"there are layouts for {', '.join(FAMILIES)}."
        )
    family, names = FAMILIES[encoder_name], set(names)
    rules = list(family.embedding)
    for index in range(family.depth):
        rules += [rule.numbered(index) for rule in family.block]
    layers = [RECURRENT_NAME.match(name) for name in names]
    n_layers = max((int(match[1]) + 1 for match in layers if match), default=0)
    for index in range(min(n_layers, len(names))):  # a silly number asks for no more
        rules += [rule.numbered(index) for rule in RECURRENT_LAYER]
    for optional in (EMBEDDING_AFTER_LSTM, STRONG_HEAD, WEAK_HEAD):
        if any(rule.key in names or rule.path in names for rule in optional):
            rules += optional
    return rules
