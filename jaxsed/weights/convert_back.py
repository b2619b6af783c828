"""Writes a model as a PyTorch checkpoint in the released key layout, without PyTorch."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from jaxsed.errors import InputError
from jaxsed.weights import (
    architecture,
    files,
    mapping,
    parameter_tree,
    torch_file_writer,
)
from jaxsed.weights.conversion_plan import FLOATS, HEADS
from jaxsed.weights.layouts.defaults import defaults
from jaxsed.weights.layouts.families import rules_for
from jaxsed.weights.released_layout import RELEASED


@dataclasses.dataclass(frozen=True)
class BackReport:
    """What was written.

    Attributes:
        folder: The model folder.
        out: The file.
        encoder: Name of the encoder.
        n_tensors: Number of tensors in the file.
        filled: What they are by key, of tensors that the model does not have.
        left_out: Heads that nothing has trained: the model's own source had none, or its
            training did not reach them.
        notes: What the original has to be told, as no file of this layout says it.
        seconds: How long it took.
    """

    folder: Path
    out: Path
    encoder: str
    n_tensors: int
    filled: dict[str, str]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def convert_back(
    folder: Path | str, out: Path | str, *, force: bool = False
) -> BackReport:
    """Writes a model in the layout that PretrainedSED's loader reads.

    A converted model comes back bit by bit, with the tensors that jaxsed has no use for;
    heads that its source lacked are left out. A model trained here gets what the loader
    wants besides: zeros, or what the front-end computes; a head that its training did not
    reach is left out, so that the loader begins it anew rather than trusts it.

    Args:
        folder: Of the model.
        out: The file, complete or not there at all.
        force: Whether a file that is at `out` may be replaced.

    Raises:
        InputError: No model at `folder`, no released layout for its encoder, its
            compression or its depth, or `out` is taken, cannot be written or has the
            ending of safetensors.
    """
    started = time.perf_counter()
    folder, out = Path(folder), Path(out)
    if out.is_dir() or (out.exists() and not force):
        what = "a folder" if out.is_dir() else "there already; --force replaces it"
        raise InputError(f"{out}: is {what}")
    if out.suffix.lower() == ".safetensors":  # which is told by its name alone
        raise InputError(
            f"{out}: what is written is a PyTorch file, which a reader of safetensors "
            f"cannot open: call it {out.with_suffix('.pt').name}"
        )
    if not out.parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.parent}")
    params, description = files.load_model(folder)
    compression = description.get("compression", "none")
    if compression != "none":
        raise InputError(
            f"{folder}: a model with compression={compression}, which no released layout "
            "has: train it to its end, at compression=none"
        )
    if description.get("drop_layers", 0):
        raise InputError(
            f"{folder}: a model without {description['drop_layers']} blocks of its "
            "encoder, which no released layout has: train it with drop_layers=0"
        )
    unused = files.read_unused(folder, description)
    provenance = description["provenance"]
    provenance = provenance if isinstance(provenance, Mapping) else {}
    source = provenance if "origin" in provenance else {}
    try:
        fresh = {path.partition("/")[0] for path in provenance.get("fresh", {})}
        absent = [head for head in HEADS if head in fresh]
        kept = {name: tree for name, tree in params.items() if name not in absent}
        released = _with_rest(description["encoder"], kept, unused)
        filled = {}
        if source.get("origin") != RELEASED:
            for key, (array, why) in defaults(description["encoder"], released).items():
                released[key], filled[key] = array, why
        released = _as_spelled(released, source)
    except (TypeError, AttributeError, ValueError, LookupError) as error:
        if isinstance(error, InputError):
            raise InputError(f"{folder}: {error}") from error
        raise InputError(
            f"{folder / files.DESCRIPTION_FILE}: its provenance is damaged ({error})"
        ) from error
    torch_file_writer.write(out, released)
    return BackReport(
        folder=folder,
        out=out,
        encoder=description["encoder"],
        n_tensors=len(released),
        filled=filled,
        left_out=tuple(head for head in absent if f"{head}.weight" not in released),
        notes=_notes(description),
        seconds=time.perf_counter() - started,
    )


def _notes(description: Mapping[str, Any]) -> tuple[str, ...]:
    own = architecture.describe(description["encoder"])["frontend"]
    found = description["frontend"]
    if found in ("", own):
        return ()
    return (
        f"the front-end {found} is not in the file: give the original its settings in "
        f"place of those of {own}",
    )


def _with_rest(encoder: str, params, unused) -> dict[str, np.ndarray]:
    released = mapping.to_released(encoder, params)
    rests = {
        rule.key: rule.transform.rest
        for rule in rules_for(encoder, parameter_tree.flattened(params))
    }
    for key, array in unused.items():
        if key in released:
            whole = np.array(released[key])
            whole[rests[key]] = array
            array = whole
        released[key] = array
    return released


def _as_spelled(released, source: Mapping[str, Any]) -> dict[str, np.ndarray]:
    for key, name in source.get("types", {}).items():
        if name not in FLOATS:
            raise ValueError(f"type {name!r}")
        released[key] = released[key].astype(getattr(ml_dtypes, name, None) or name)
    spelled = source.get("spelled", {})
    return {str(spelled.get(key, key)): array for key, array in released.items()}
