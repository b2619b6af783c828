"""How a store of teacher logits lies on disk; shared by its reader and its writer."""

import json
import os
from pathlib import Path

from jaxsed.errors import InputError

DESCRIPTION, IDS, LOGITS = "teacher_logits.json", "ids.json", "logits.f16"
FORMAT = 1


def read_description(folder: Path) -> dict:
    """Returns the parsed `teacher_logits.json` of a store.

    Raises:
        InputError: it is missing or not one of ours.
    """
    file = Path(folder) / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise InputError(f"{file}: format {description['format']}, not {FORMAT}")
        missing = {"shape", "vocabulary", "teachers", "finished"} - description.keys()
        if missing:
            raise KeyError(*missing)
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} is not a store of teacher logits: no readable {DESCRIPTION} "
            f"({type(error).__name__})"
        ) from error
    return description


def reserve(file: Path, n_bytes: int) -> None:
    """Makes a file of zeros, with its space really taken.

    Writing to a memory map whose disk is full kills the process without a word.

    Raises:
        InputError: the disk is too small.
    """
    try:
        with open(file, "wb") as opened:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(opened.fileno(), 0, n_bytes)
            else:
                opened.truncate(n_bytes)
    except OSError as error:
        file.unlink(missing_ok=True)
        raise InputError(
            f"{file}: cannot take the {n_bytes / 1e9:.1f} GB it needs "
            f"({error.strerror}): make room, or use another disk"
        ) from error


def lock(folder: Path):
    """Returns an open file that no second writer gets as long as it is open.

    Raises:
        InputError: another process has it.
    """
    opened = open(folder / "lock", "w")  # noqa: SIM115
    try:
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not on this system: nothing is locked
        pass
    except OSError as error:
        opened.close()
        raise InputError(
            f"{folder} is being written by another process: wait for it, or give "
            "another folder"
        ) from error
    return opened
