"""The files of a score store: its description, and room for its arrays."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary

# Clips of the same number of frames; of any number, each.
_EQUAL, _RAGGED = "jaxsed-scores-1", "jaxsed-scores-2"


def describe(
    ids: Sequence[str],
    vocabulary: Vocabulary,
    durations: Sequence[float] | None,
    n_frames: int | Sequence[int],
    frame_seconds: float,
    provenance: dict | None,
) -> dict:
    """Returns what `scores.json` says; see `ScoreStore.create` for the arguments.

    Raises:
        InputError: no clip or frame, repeated ids, numbers that make no sense.
    """
    ids = [str(clip_id) for clip_id in ids]
    frames = np.unique(n_frames).tolist()
    if not ids or frames[0] < 1:
        raise InputError(
            f"a score store needs at least one clip and one frame, got {len(ids)} clips "
            f"of {frames[0] if frames else 0} frames"
        )
    if np.ndim(n_frames) and len(n_frames) != len(ids):
        raise InputError(f"numbers of frames of {len(n_frames)} clips for {len(ids)}")
    if len(set(ids)) != len(ids):
        twice = next(clip_id for clip_id in ids if ids.count(clip_id) > 1)
        raise InputError(f"clip id {twice!r} occurs twice; ids must be unique")
    if not (math.isfinite(frame_seconds) and frame_seconds > 0):
        raise InputError(
            f"frame_seconds is {frame_seconds}, expected a positive number"
        )
    if durations is not None:
        durations = [float(seconds) for seconds in durations]
        if len(durations) != len(ids):
            raise InputError(f"{len(durations)} durations for {len(ids)} clips")
    equal = len(frames) == 1
    return {
        "format": _EQUAL if equal else _RAGGED,
        "ids": ids,
        "vocabulary": vocabulary.to_json(),
        "durations": durations,
        "n_frames": frames[0] if equal else np.asarray(n_frames).tolist(),
        "frame_seconds": float(frame_seconds),
        "provenance": json.loads(json.dumps(provenance or {})),
    }


def shape_of(description: dict) -> tuple[int, ...]:
    """Returns the shape of the logits: `[clips, t, c]`, or `[frames, c]` of all clips."""
    n_frames = description["n_frames"]
    n_classes = len(description["vocabulary"]["classes"])
    if isinstance(n_frames, int):
        return len(description["ids"]), n_frames, n_classes
    return sum(n_frames), n_classes


def allocate(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Makes an array of zeros and takes its room on the disk.

    Without that a disk that fills up later would kill the process (SIGBUS), because
    writing to a memory map cannot fail in any other way.

    Raises:
        InputError: there is not enough room, or no permission.
    """
    try:
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        size = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 1e9
        raise InputError(
            f"{path}: cannot make a file of {size:.2f} GB ({error}); choose a folder "
            "with more room"
        ) from error


def load_description(path: Path) -> dict:
    """Reads `scores.json` of a folder.

    Raises:
        InputError: it is not there, or not one of ours.
    """
    file = path / "scores.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no scores.json in it; expected a folder of scores written by "
            "jaxsed, or a folder of sed_scores_eval TSVs"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    known = (_EQUAL, _RAGGED)
    if not isinstance(description, dict) or description.get("format") not in known:
        raise InputError(
            f'{file}: expected "format": "{_EQUAL}" or "{_RAGGED}"; write it again'
        )
    return description


def check_same(path: Path, found: dict, wanted: dict) -> None:
    """Refuses a store of something else.

    Raises:
        InputError: the descriptions differ; says in what.
    """
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(
                f"{path}: holds scores of something else ({key} differs); give another "
                "folder, or delete this one to start afresh"
            )


def write_json(path: Path, value: dict) -> None:
    """Writes JSON, atomically and durably."""
    write_atomically(path, json.dumps(value, ensure_ascii=False))
