"""Finds out what a checkpoint is: which encoder's, behind which prefix, in which container.

A file's arrays are listed by their path through its containers, so that
`{"state_dict": {"model.teacher.encoder.norm.weight": ...}}` and
`{"teacher": {"module.backbone.norm.weight": ...}}` are cases of one question: behind
which prefix do the keys lie that an encoder's layout names?
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxsed.errors import InputError, check_known
from jaxsed.weights import other_models
from jaxsed.weights.layouts import (
    external_ast,
    external_deit,
    external_transformers_ast,
)
from jaxsed.weights.layouts.families import FAMILIES, rules_for
from jaxsed.weights.mapping import SHOWN, enumerated
from jaxsed.weights.released_layout import (
    EXTERNALS,
    Recognised,
    in_released_layout,
    released_prefix,
)
from jaxsed.weights.torch_content import Placeholder, flatten

_IMAGES = {
    "pos_embed": (1, 578, None),
    "patch_embed.proj.weight": (None, 3, 16, 16),
    "dist_token": (1, 1, None),
}
_AST = {
    "pos_embed": (1, 514, None),
    "patch_embed.proj.weight": (None, 1, 16, 16),
    "dist_token": (1, 1, None),
}
_AST_OVERLAPPING = _AST | {"pos_embed": (1, 1214, None)}
_FRAME = {"patch_embed.proj.weight": (None, 1, 128, 2)}
# What tells layouts apart whose keys are alike: shapes, None for any size.
MARKS: dict[str, dict[str, tuple[int | None, ...]]] = {
    "atst_frame": {"patch_embed.patch_embed.weight": (None, 256)},
    "beats": {"patch_embedding.weight": (None, 1, 16, 16)},
    "fpasst": {"time_new_pos_embed": (1, None, 1, 250)},
    "m2d": {"pos_embed": (1, 311, None), "patch_embed.proj.weight": (None, 1, 16, 16)},
    "asit": {"pos_embed": (1, 297, None), "patch_embed.proj.weight": (None, 1, 16, 16)},
    "frame_mn06": {"16.0.weight": (None, 96, 1, 1)},
    "frame_mn10": {"16.0.weight": (None, 160, 1, 1)},
    external_deit.EXTERNAL.name: _IMAGES,
    **{external.name: _IMAGES for external in external_ast.FROM_DEIT},
    "ast": _AST_OVERLAPPING,
    "ast_s16": _AST,
    "ssast": _AST,
    "ssast_s10": _AST_OVERLAPPING,
    "ssast_frame": _AST | _FRAME,
    "ssast_deit_small": _AST | {"pos_embed": (1, 514, 384)},
    "ssast_deit_tiny": _AST | {"pos_embed": (1, 514, 192)},
    "ssast_deit_tiny_frame": _AST | _FRAME | {"pos_embed": (1, 514, 192)},
    external_ast.FROM_OVERLAPPING.name: _AST_OVERLAPPING,
    external_ast.FROM_PRETRAINING.name: _AST,
    **{
        external.name: {external_transformers_ast.POSITIONS: marks["pos_embed"]}
        for external, marks in zip(
            external_transformers_ast.EXTERNALS, (_AST_OVERLAPPING, _AST), strict=True
        )
    },
    "htsat": {
        "patch_embed.proj.weight": (None, 1, 4, 4),
        "layers.3.blocks.0.attn.relative_position_bias_table": (225, 32),
    },
}
# What tells the rest apart: a key beside the prefix, which SSAST's pre-training leaves. Its
# fine-tuned models have nothing that AST's have not.
BESIDE = {name: "mask_embed" for name in FAMILIES if FAMILIES[name].pretext}
# Steps that PyTorch puts into paths for what it wraps: `torch.compile`, FSDP, checkpointing
# of activations. (`module`, of data parallelism, is part of some layouts.)
WRAPPERS = frozenset(
    {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
# Whose weights are a running average, by a word of a step; of either, the other is raw.
AVERAGED = re.compile(r"(?<![a-z])(teacher|ema|averaged?|avg|swa)(?![a-z])")
CONVERTIBLE = ("timm", "AST")  # in what a file seems to be, of some sizes and kinds
MIN_FOUND = 0.5  # of a layout's keys, to be called a damaged file of that layout


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """An encoder's keys behind one prefix; `layout` is a key of `_layouts()`.

    `asked` says whether the encoder is the one that the file is said to be of, and
    `beside` whether the key of `BESIDE` is there.
    """

    layout: str
    encoder: str
    prefix: str
    found: float
    contradiction: str | None
    asked: bool
    beside: bool

    @property
    def rank(self):
        steps = self.prefix.split(".")
        averaged = any(AVERAGED.search(step) for step in steps)
        fits = self.contradiction is None, self.found, self.asked, self.beside
        return *fits, "student" not in steps, averaged

    @property
    def name(self):
        return self.encoder if self.layout in FAMILIES else self.layout


def recognise(content: Any, encoder: str | None = None) -> Recognised:
    """Recognises a checkpoint by its keys and a few shapes.

    Args:
        content: Of `torch_file.read`.
        encoder: What it is said to be; None to find out.

    Returns:
        What it is. That keys are complete and shapes right is not checked.

    Raises:
        InputError: It is none of the checkpoints known, or another than `encoder`; the
            message says what it seems to be instead.
    """
    if encoder is not None:
        check_known("model", encoder, FAMILIES)
    if isinstance(content, Placeholder):
        raise InputError(
            f"holds a whole object of the class {content.qualified_name}, not its "
            "weights; in PyTorch, save MODEL.state_dict()"
        )
    flat = unwrapped(flatten(content))
    if not flat:
        raise InputError("holds no tensors; give the file with the model's weights")
    candidates = sorted(
        _candidates(flat, encoder), key=lambda one: one.rank, reverse=True
    )
    best = candidates[0] if candidates else None
    if best is None or best.found < MIN_FOUND or best.contradiction:
        best = _insist(candidates, encoder, flat)
    seems = other_models.seems_to_be(flat)
    if best.layout == "beats" and seems and "BEATs" in seems:
        raise InputError(f"this looks like {seems}")
    if encoder is not None and best.encoder != encoder:
        raise InputError(
            f"this looks like a checkpoint of {best.name}, not of {encoder}; leave out "
            f"--model or give --model {best.encoder}"
        )
    return in_released_layout(best.layout, best.prefix, flat, content)


def unwrapped(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Paths without the steps that are `WRAPPERS`.

    Raises:
        InputError: Two paths are the same without them.
    """
    plain = {}
    for path, array in flat.items():
        name = ".".join(step for step in path.split(".") if step not in WRAPPERS)
        if name in plain:
            raise InputError(f"two of its tensors are called {name[:200]!r}")
        plain[name] = array
    return plain


def _insist(candidates, encoder, flat) -> _Candidate:
    """Takes the encoder's word for what nothing else tells, or gives up."""
    for candidate in candidates:
        if candidate.encoder == encoder and candidate.found >= MIN_FOUND:
            return dataclasses.replace(candidate, contradiction=None)
    seems = other_models.seems_to_be(flat)
    most = max((one.found for one in candidates), default=0)
    near = {one.name: one.contradiction for one in candidates if one.found == most}
    if most > 0.9 and (seems is None or any(name in seems for name in CONVERTIBLE)):
        listed = "; ".join(
            f"{name}, but {reason}" for name, reason in [*near.items()][:SHOWN]
        )
        raise InputError(
            f"this has the keys of {listed}: it is of another size or kind and cannot "
            "be converted"
        )
    if seems:
        raise InputError(
            f"this looks like {seems}; convertible are checkpoints of "
            f"{', '.join(FAMILIES)}"
        )
    raise InputError(
        f"none of the checkpoints known ({', '.join(FAMILIES)}): its {len(flat)} tensors "
        f"are {enumerated(list(flat))}"
    )


def _layouts() -> dict[str, tuple[str, dict[str, str]]]:
    """By name: encoder, and its keys below the prefix by each of their spellings."""
    layouts = {}
    for encoder in FAMILIES:
        prefix = released_prefix(encoder)
        keys = {
            spelling.removeprefix(prefix): rule.key
            for rule in rules_for(encoder, ())
            for spelling in (rule.key, *rule.aliases)
        }
        layouts[encoder] = encoder, keys
    for name, external in EXTERNALS.items():
        if external.keys is not None:
            layouts[name] = external.encoder, {key: key for key in external.keys}
    return layouts


def _candidates(
    flat: Mapping[str, np.ndarray], asked: str | None
) -> Iterator[_Candidate]:
    layouts = _layouts()
    places: dict[str, list[str]] = {}  # key below a prefix -> layouts that have it
    for layout, (_, keys) in layouts.items():
        for key in keys:
            places.setdefault(key, []).append(layout)
    most_steps = max(key.count(".") + 1 for key in places)
    found: dict[tuple[str, str], set[str]] = {}
    for path in flat:
        steps = path.split(".")
        for start in range(max(0, len(steps) - most_steps), len(steps)):
            key = ".".join(steps[start:])
            prefix = path[: len(path) - len(key)]
            for layout in places.get(key, ()):
                found.setdefault((layout, prefix), set()).add(layouts[layout][1][key])
    for (layout, prefix), names in found.items():
        encoder, keys = layouts[layout]
        outer = prefix.rpartition(".")[0].rpartition(".")[0]
        beside = ".".join(filter(None, (outer, BESIDE.get(layout, ""))))
        yield _Candidate(
            layout=layout,
            encoder=encoder,
            prefix=prefix,
            found=len(names) / len(set(keys.values())),
            contradiction=_contradiction(layout, prefix, flat),
            asked=encoder == asked,
            beside=layout in BESIDE and beside in flat,
        )


def _contradiction(layout, prefix, flat) -> str | None:
    for key, expected in MARKS.get(layout, {}).items():
        array = flat.get(prefix + key)
        if array is None:
            return f"{key} is missing"
        fits = len(array.shape) == len(expected) and all(
            size is None or size == found
            for size, found in zip(expected, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in expected)
            return f"{key} is {list(array.shape)} and should be [{wanted}]"
    return None
