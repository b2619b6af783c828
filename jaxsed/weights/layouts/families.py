"""The key layouts of released checkpoints, by encoder.

A family of checkpoints is one file here; nothing else knows its keys. Layouts are those
of the files released with PretrainedSED (`models/prediction_wrapper.py`). NumPy only.
"""

from collections.abc import Iterable

from jaxsed.errors import InputError
from jaxsed.weights.layouts import (
    asit,
    ast,
    atst_frame,
    beats,
    fpasst,
    frame_mn,
    htsat,
    m2d,
    ssast,
)
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
    "ast": ast.FAMILY,
    "ast_s16": ast.FAMILY,
    # Told by their width, before those of any width.
    "ssast_deit_small": ssast.PRETRAINED,
    "ssast_deit_tiny": ssast.PRETRAINED,
    "ssast_deit_tiny_frame": ssast.PRETRAINED,
    "ssast": ssast.PRETRAINED,
    "ssast_s10": ssast.FAMILY,
    "ssast_frame": ssast.PRETRAINED,
    "htsat": htsat.FAMILY,
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
    weak_head = WEAK_HEAD
    if _occurs(family.weak_head[:1], names) or _keys(family.weak_head) & names:
        weak_head = family.weak_head
    for optional in (EMBEDDING_AFTER_LSTM, STRONG_HEAD, weak_head, family.pretext):
        if _occurs(optional, names):
            rules += optional
    return rules


def head_keys(encoder_name: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Finds the heads in a checkpoint.

    Args:
        encoder_name: A key of `FAMILIES`.
        names: Keys of the checkpoint.

    Returns:
        For "strong_head" and "weak_head", the checkpoint's keys by the path of our
        parameter; of those that it has.
    """
    names = set(names)
    found: dict[str, dict[str, str]] = {"strong_head": {}, "weak_head": {}}
    for rule in rules_for(encoder_name, names):
        head = rule.path.partition("/")[0]
        for key in {rule.key, *rule.aliases} & names:
            if head in found:
                found[head][rule.path] = key
    return found


def pretext_occurs(encoder_name: str, names: Iterable[str]) -> bool:
    """Says whether a checkpoint ends with pre-training, and has what that needs."""
    return _occurs(FAMILIES[encoder_name].pretext, set(names))


def _occurs(rules: Iterable[Rule], names: set[str]) -> bool:
    return any({rule.key, rule.path, *rule.aliases} & names for rule in rules)


def _keys(rules: Iterable[Rule]) -> set[str]:
    return {key for rule in rules for key in (rule.key, *rule.aliases)}
