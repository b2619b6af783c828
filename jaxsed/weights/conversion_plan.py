"""What is to become of each tensor of a checkpoint, before anything is computed."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models.heads import HEADS as HEAD_KINDS
from jaxsed.models.masked_patches import MASKED_PATCHES
from jaxsed.weights import architecture, fresh, mapping, safetensors_writer
from jaxsed.weights.layouts.families import (
    FAMILIES,
    head_keys,
    pretext_occurs,
    rules_for,
)
from jaxsed.weights.layouts.rules import Rule
from jaxsed.weights.recognise import recognise, unwrapped
from jaxsed.weights.released_layout import Recognised, released_prefix
from jaxsed.weights.torch_content import flatten

STRONG, WEAK = HEADS = fresh.HEADS
DEFAULT_VOCABULARY = "audioset_strong_447"
VOCABULARY_OF_COUNT = {447: "audioset_strong_447", 527: "audioset_527"}
SEQUENCE_OF_GATES = {3: "bigru", 4: "bilstm"}
FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Plan:
    """A conversion thought through.

    Attributes:
        found: What the file is.
        stage: "ssl", "weak" or "strong".
        vocabulary: Classes of the heads.
        architecture: As `architecture.describe`.
        rules: Those that apply.
        used: Arrays by the rules' keys.
        unused: Arrays by key that have a place in the released layout and none in ours.
        dropped: Reason by key, of all that is not used.
        spelled: By the rules' keys, the file's other spelling.
        types: By the rules' keys, the file's type where it is not float32 and nothing is
            lost by float32.
        notes: For the person who converts.
        paths: Where arrays are in the file, by their key of the released layout; those
            that were made of others have none.
    """

    found: Recognised
    stage: str
    vocabulary: Vocabulary
    architecture: dict[str, Any]
    rules: Sequence[Rule]
    used: dict[str, np.ndarray]
    unused: dict[str, np.ndarray]
    dropped: dict[str, str]
    spelled: dict[str, str]
    types: dict[str, str]
    notes: list[str]
    paths: dict[str, str]


def plan(
    content: Any,
    model: str | None,
    stage: str | None,
    vocabulary: Vocabulary | None,
) -> Plan:
    """Thinks a conversion through; arguments as of `convert.convert_file`.

    Args:
        content: Of `torch_file.read`.
        model: Name of the encoder, or None.
        stage: Stage, or None.
        vocabulary: Class list, or None.

    Raises:
        InputError: The file is none that can be converted, or lacks keys.
    """
    found = recognise(content, model)
    mapping.check_derived(found.encoder, found.arrays)
    arrays, notes = dict(found.arrays), list(found.notes)
    dropped, unused = dict(found.dropped), {}

    def drop(key, reason):
        dropped[key] = reason
        unused[key] = arrays.pop(key)
        if not safetensors_writer.is_storable(unused[key].dtype):
            notes.append(f"{key}, {unused[key].dtype}, cannot be kept for the way back")
            del unused[key]

    for key in found.arrays:
        reason = mapping.reason_to_drop(found.encoder, key)
        if reason is not None:
            drop(key, reason)
    heads = head_keys(found.encoder, arrays)
    stage = stage or found.stage or _stage(heads)
    is_given = vocabulary is not None
    vocabulary = vocabulary or _vocabulary(arrays, heads)
    if vocabulary.name == "audioset_527" and any(map(_is_head, heads.values())):
        notes.append("the 527 classes are taken to be in the order of AudioSet's list")
    head_kind = FAMILIES[found.encoder].head
    if heads[WEAK].keys() == {f"{WEAK}/kernel", f"{WEAK}/bias"}:
        head_kind = "linear"
    if not any(heads.values()) and pretext_occurs(found.encoder, arrays):
        head_kind = MASKED_PATCHES
    for head, keys in heads.items():
        n_classes = _n_classes(arrays, keys)
        if n_classes not in (None, len(vocabulary)):
            reason = f"{n_classes} classes; {vocabulary.name} has {len(vocabulary)}"
            if not is_given and n_classes not in VOCABULARY_OF_COUNT:
                notes.append(f"{head} is kept if --vocabulary lists its classes")
            for key in keys.values():
                drop(key, reason)

    rules = [r for r in rules_for(found.encoder, arrays) if r.key not in found.lacks]
    spelled = mapping.spelled(found.encoder, rules, arrays)
    used = {key: arrays[spelling] for key, spelling in spelled.items()}
    for rule in rules:
        if rule.transform.rest is not None and used[rule.key].ndim > 1:
            unused[rule.key] = used[rule.key][rule.transform.rest]
            shape = list(unused[rule.key].shape)
            notes.append(f"{rule.key}: {shape} of it are not used, only kept")
    return Plan(
        found=found,
        stage=stage,
        vocabulary=vocabulary,
        architecture=architecture.describe(
            found.encoder, head=head_kind, **_sequence(used)
        ),
        rules=rules,
        used=used,
        unused=unused,
        dropped=dropped,
        spelled={key: name for key, name in spelled.items() if key != name},
        types=_types(used, notes),
        notes=notes,
        paths=_paths(content, found),
    )


def _paths(content, found: Recognised) -> dict[str, str]:
    flat = unwrapped(flatten(content))
    container = f"{found.container}." if found.container else ""
    ours = released_prefix(found.encoder)
    paths = {}
    for key, array in found.arrays.items():
        of_encoder = container + found.prefix + key.removeprefix(ours)
        beside_it = container + found.prefix.removesuffix(ours) + key
        for path in (of_encoder, beside_it, container + key):
            if flat.get(path) is array:
                paths.setdefault(key, path)
    return paths


def parameters(
    plan: Plan, shapes: Mapping[str, tuple[int, ...]], seed: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """Maps what the file has and makes what it lacks.

    Args:
        plan: The conversion.
        shapes: Of all parameters by path.
        seed: Of what is drawn.

    Returns:
        Parameters by path, those of the file still to be made; and by path how the
        others were made.

    Raises:
        InputError: A shape is wrong, or something is missing that cannot be drawn.
    """
    mapping.check_shapes(plan.rules, plan.used, shapes)
    head_kind = HEAD_KINDS.get(plan.architecture["head"])
    is_copied = head_kind is not None and head_kind.interchangeable
    leaves: dict[str, Any] = mapping.mapped(plan.rules, plan.used, shapes)
    made = {}
    for path in [path for path in shapes if path not in leaves]:
        head, _, name = path.partition("/")
        other = f"{WEAK if head == STRONG else STRONG}/{name}"
        if is_copied and head in HEADS and other in leaves and other not in made:
            # As in step 2 of the training: both heads are linear, and one is applied to
            # the mean over time of what the other is applied to.
            leaves[path] = leaves[other]
            made[path] = f"copy of {other}"
        elif fresh.can_draw(path, shapes):
            leaves[path] = fresh.drawn(path, shapes, seed)
            made[path] = f"{fresh.HOW} with seed {seed}"
        else:
            raise InputError(f"it holds nothing for the parameter {path}")
    return leaves, made


def _is_head(keys: Mapping[str, str]) -> bool:
    return any(path.rpartition("/")[2] in fresh.KERNELS for path in keys)


def _stage(heads) -> str:
    if _is_head(heads[STRONG]):
        return "strong"
    return "weak" if _is_head(heads[WEAK]) else "ssl"


def _vocabulary(arrays, heads) -> Vocabulary:
    for head in HEADS:
        name = VOCABULARY_OF_COUNT.get(_n_classes(arrays, heads[head]))
        if name is not None:
            return vocab.load(name)
    return vocab.load(DEFAULT_VOCABULARY)


def _n_classes(arrays, keys: Mapping[str, str]) -> int | None:
    """Of a head, whose released arrays are `[c, ...]`; norms in front tell nothing."""
    for name in (*fresh.KERNELS, "bias"):
        for path, key in keys.items():
            if path.split("/")[1:] == [name]:
                return len(arrays[key]) if arrays[key].ndim else None
    return None


def _sequence(used) -> dict[str, Any]:
    """Kind, width and layers of the sequence model, from the shapes of its weights."""
    hidden = "seq_model.rnn.weight_hh_l"
    first = used.get(f"{hidden}0")
    if first is None:
        return {}
    gates, width = (*first.shape, 0, 0)[:2]
    kind = SEQUENCE_OF_GATES.get(gates // width if width else 0)
    if first.ndim != 2 or kind is None or gates % width:
        raise InputError(
            f"{hidden}0 is {list(first.shape)}: neither [3 width, width] of a GRU nor "
            "[4 width, width] of an LSTM"
        )
    layers = sum(key.removeprefix(hidden).isdigit() for key in used)
    return {"sequence": kind, "sequence_width": width, "sequence_layers": layers}


def _types(used, notes) -> dict[str, str]:
    """Types other than float32, where float32 can stand for them; notes what is wrong."""
    types, lost, broken = {}, [], []
    for key, array in used.items():
        name = array.dtype.name
        if name not in FLOATS:
            raise InputError(f"{key} is {name}; weights are {', '.join(FLOATS)}")
        if not np.isfinite(array).all():
            broken.append(key)
        if name == "float64":
            with np.errstate(over="ignore"):
                exact = np.array_equal(array.astype(np.float32), array, equal_nan=True)
            if not exact:
                lost.append(key)
                continue
        if name != "float32":
            types[key] = name
    if types:
        names = ", ".join(sorted(set(types.values())))
        notes.append(f"{len(types)} tensors are {names} and become float32, exactly")
    if lost:
        notes.append(f"{len(lost)} tensors are float64 and are rounded to float32")
    if broken:
        notes.append(
            f"{len(broken)} tensors hold NaN or infinity, as after a training that "
            f"diverged; the model will not work ({mapping.enumerated(broken)})"
        )
    return types
