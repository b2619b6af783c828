"""A trained model as a folder that explains itself.

`model.json` says what the model is (architecture, front-end, vocabulary with its hash,
stage, provenance, licence) and carries the sha256 of `params.safetensors`, which holds
the parameters under "/"-joined names. `unused.safetensors` is there only beside a
converted model: tensors of the checkpoint that the model has no use for, kept for the way
back. All are plain data: reading a model runs nothing that came with it.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.atomic import replacing
from jaxsed.errors import InputError
from jaxsed.labels.events import FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary
from jaxsed.weights import architecture, safetensors_writer, swap, torch_file
from jaxsed.weights.parameter_tree import flattened, nested

FORMAT = 1
DESCRIPTION_FILE = "model.json"
PARAMETER_FILE = "params.safetensors"
UNUSED_FILE = "unused.safetensors"
REQUIRED = (
    "encoder",
    "sequence",
    "frontend",
    "vocabulary",
    "stage",
    "licence",
    "provenance",
)

Params = Mapping[str, Any]


def save_model(
    folder: Path | str,
    params: Params,
    description: Mapping[str, Any],
    unused: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a model folder, complete or not at all.

    Everything is written to a folder beside `folder` first, which then takes its place.
    A model that was there before stays readable up to that moment; files in it that are
    not the model's are kept.

    Args:
      folder: Where to; its parents are made.
      params: Nested mapping of float32 arrays, numpy or jax, or of objects with `shape`
        and `dtype` that `numpy.asarray` makes into such; each is taken when its turn
        comes, so that large models need not be in memory at once.
      description: `architecture.describe(...)` plus `vocabulary` (`Vocabulary.to_json()`),
        `stage`, `licence`, `provenance` (a dict of plain values).
      unused: Tensors to keep beside the model, by name; for `read_unused`.

    Raises:
      InputError: The description lacks a field or cannot be written as JSON, a
        parameter is not float32, or `folder` is taken by something else.
    """
    folder = Path(folder)
    swap.check_free(folder, DESCRIPTION_FILE)
    missing = [name for name in REQUIRED if name not in description]
    if missing:
        raise InputError(f"model description lacks {', '.join(missing)}")
    Vocabulary.from_json(description["vocabulary"])
    leaves = _leaves(params)
    content = {"frame_seconds": FRAME_SECONDS, **description, "format": FORMAT}
    content |= {"parameters_sha256": "", "unused_sha256": ""}
    _to_json(content)  # refused, if at all, before anything is written
    del content["unused_sha256"]
    own = (PARAMETER_FILE, DESCRIPTION_FILE, UNUSED_FILE)
    with swap.in_place_of(folder, own) as partial:
        written = safetensors_writer.write(partial / PARAMETER_FILE, leaves)
        content["parameters_sha256"] = written
        if unused:
            written = safetensors_writer.write(partial / UNUSED_FILE, unused)
            content["unused_sha256"] = written
        with replacing(partial / DESCRIPTION_FILE) as beside:
            beside.write_text(_to_json(content), encoding="utf-8")


def load_model(folder: Path | str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a model folder and checks it against its own description.

    Returns:
      `(params, description)`: nested dicts of numpy float32 arrays, exactly those that
      were saved; and the content of `model.json`.

    Raises:
      InputError: No model there; made by a newer jaxsed; a damaged file; or parameters
        that are not those of the architecture named.
    """
    folder = Path(folder)
    description = read_description(folder)
    path = folder / PARAMETER_FILE
    _check_hash(path, description["parameters_sha256"])
    arrays = _read_arrays(path)
    try:
        expected = architecture.parameter_shapes(description)
    except InputError as error:
        raise InputError(f"{folder / DESCRIPTION_FILE}: {error}") from error
    _check_parameters(path, arrays, expected)
    return nested(arrays), description


def read_unused(
    folder: Path | str, description: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads what `save_model` was given as `unused`; nothing if there was nothing.

    Args:
      folder: Of the model.
      description: Its `model.json`.

    Raises:
      InputError: The file is missing or damaged.
    """
    if "unused_sha256" not in description:
        return {}
    path = Path(folder) / UNUSED_FILE
    _check_hash(path, str(description["unused_sha256"]))
    return torch_file.read(path).content


def read_description(folder: Path | str) -> dict[str, Any]:
    """Reads and checks `model.json` alone.

    Raises:
      InputError: Not a model folder, or its description is damaged or too new.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(_no_model(folder)) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: damaged: not JSON ({error}); copy the folder again"
        ) from None
    if not isinstance(description, dict) or not isinstance(
        description.get("format"), int
    ):
        raise InputError(f"{path}: not the description of a jaxsed model")
    if description["format"] > FORMAT:
        raise InputError(
            f"{path}: format {description['format']} is newer than this jaxsed reads "
            f"(up to {FORMAT}); upgrade jaxsed"
        )
    for name in (*REQUIRED, "parameters_sha256"):
        if name not in description:
            raise InputError(f"{path}: damaged: the field {name!r} is missing")
    if not isinstance(description["parameters_sha256"], str):
        raise InputError(f"{path}: damaged: parameters_sha256 is not text")
    try:
        Vocabulary.from_json(description["vocabulary"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return description


def _check_hash(path: Path, expected: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); copy the model folder whole, "
            f"with {DESCRIPTION_FILE} and {path.name}"
        ) from error
    if found != expected:
        raise InputError(
            f"{path}: damaged or not of this model: its sha256 is {found[:12]}..., "
            f"{DESCRIPTION_FILE} expects {expected[:12]}...; copy the folder again"
        )


def _to_json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"model description is not plain JSON data: {error}") from None


def _no_model(folder: Path) -> str:
    if (folder / "model" / DESCRIPTION_FILE).is_file():
        return f"{folder}: no model here, but one in it: use {folder / 'model'}"
    if folder.is_dir():
        return (
            f"{folder}: no {DESCRIPTION_FILE} in this folder; "
            "give the folder of a model, e.g. RUN/model"
        )
    if folder.exists():
        return (
            f"{folder}: is a file; give the folder of a model, e.g. RUN/model (of a "
            "PyTorch checkpoint 'jaxsed convert' makes one)"
        )
    return f"{folder}: no such model folder"


def _check_parameters(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    missing = sorted(expected.keys() - arrays.keys())
    extra = sorted(arrays.keys() - expected.keys())
    wrong = [
        f"{name} is {list(arrays[name].shape)}, expected {list(shape)}"
        for name, shape in sorted(expected.items())
        if name in arrays and arrays[name].shape != shape
    ]
    problems = [
        f"{what}: {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "")
        for what, names in (("missing", missing), ("unknown", extra), ("shape", wrong))
        if names
    ]
    if problems:
        raise InputError(
            f"{path}: not the parameters of the architecture in {DESCRIPTION_FILE}: "
            + "; ".join(problems)
        )


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, struct.error) as error:
        raise InputError(
            f"{path}: damaged: not a safetensors file ({error}); copy the folder again"
        ) from None
    other = [name for name, array in arrays.items() if array.dtype != np.float32]
    if other:
        raise InputError(
            f"{path}: {other[0]} is {arrays[other[0]].dtype}; parameters are float32"
        )
    return arrays


def _leaves(params: Params) -> dict[str, Any]:
    leaves = {}
    for name, value in flattened(params).items():
        leaf = value if hasattr(value, "dtype") else np.asarray(value)
        if leaf.dtype != np.float32:
            raise InputError(
                f"parameter {name} is {leaf.dtype}; a model is saved in float32"
            )
        leaves[name] = leaf
    return leaves
