"""Which split something belongs to: by a word, or at random."""

import hashlib
import re
from collections.abc import Iterable

from jaxsed.errors import InputError

# What data sets call the splits, as on the Hugging Face Hub; `validate` is Kinetics'.
WORDS = {
    "train": {"train", "training"},
    "validation": {"validation", "validate", "valid", "val", "dev"},
    "eval": {"test", "testing", "eval", "evaluation"},
}
SPLITS = tuple(WORDS)


def split_called(text: str) -> str | None:
    """Returns the split that one of the words in a text means; None without any."""
    words = set(re.split("[^a-z]+", text.lower()))
    return next((split for split, meaning in WORDS.items() if words & meaning), None)


def split_of_file(name: str) -> str | None:
    """Returns the split that a file's name says, or else its nearest folder's."""
    folder, _, file = name.rpartition("/")
    parts = [*folder.split("/"), re.sub(r"\.\w+$", "", file)]
    return next(filter(None, map(split_called, reversed(parts))), None)


def at_random(clips: Iterable[str], share: float, seed: int) -> set[str]:
    """Chooses clips for evaluation.

    Args:
      clips: Their names; the same ones are chosen in whatever order they come.
      share: Of all clips, between 0 and 1.
      seed: Another one chooses others.

    Returns:
      The chosen: `share` of them, at least one, and not all.

    Raises:
      InputError: There are fewer than two clips.
    """

    def place(clip: str) -> bytes:
        return hashlib.sha256(f"{seed}:{clip}".encode()).digest()

    in_order = sorted(set(clips), key=place)
    if len(in_order) < 2:
        raise InputError(
            f"{len(in_order)} clips cannot be split at random; every part needs one, so "
            "label more"
        )
    count = round(share * len(in_order))
    return set(in_order[: min(max(count, 1), len(in_order) - 1)])
