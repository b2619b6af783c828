"""Named, hashed class lists: what the outputs of a head and the columns of a target mean.

Shipped lists (`load(name)`):

* `audioset_527`: the classes of AudioSet, in the order of the released
  `class_labels_indices.csv`.
* `audioset_strong_447`: the training classes of AudioSet Strong, in the order of the
  heads of the released PretrainedSED checkpoints (display names sorted by code point).
* `audioset_strong_eval_416`: the evaluation classes of AudioSet Strong. 407 of them
  are training classes too.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import numpy as np

from jaxsed.errors import InputError, nearest

SHIPPED = ("audioset_527", "audioset_strong_447", "audioset_strong_eval_416")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """An ordered list of classes.

    Attributes:
      name: What to call the list, e.g. `audioset_strong_447`. Not part of the hash.
      names: Display names in class order, unique.
      mids: Machine ids (`/m/...`) in class order, unique; None where a class has none.
        Leave out for a list without any.
    """

    name: str
    names: tuple[str, ...]
    mids: tuple[str | None, ...] = ()

    def __post_init__(self):
        names = tuple(self.names)
        mids = tuple(mid or None for mid in self.mids) or (None,) * len(names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "mids", mids)
        if not names:
            raise InputError(f"vocabulary {self.name!r} has no classes")
        if len(mids) != len(names):
            raise InputError(
                f"vocabulary {self.name!r} has {len(names)} names but {len(mids)} MIDs;"
                " give one MID (or null) a class"
            )
        for what, values in (("class name", names), ("MID", mids)):
            twice = _first_repeated(values)
            if twice is not None:
                raise InputError(
                    f"vocabulary {self.name!r} lists the {what} {twice!r} twice"
                )

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def hash(self) -> str:
        r"""sha256 (hex) of `name TAB mid NEWLINE` of every class in order, as UTF-8.

        A class without a MID contributes an empty one. Equal hashes mean that the
        outputs of one model can be read as those of the other.
        """
        lines = (
            f"{name}\t{mid or ''}\n"
            for name, mid in zip(self.names, self.mids, strict=True)
        )
        return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()

    @functools.cached_property
    def _index_of(self) -> dict[str, int]:
        by_name = {name: i for i, name in enumerate(self.names)}
        by_mid = {mid: i for i, mid in enumerate(self.mids) if mid is not None}
        return by_mid | by_name

    def __contains__(self, name_or_mid: object) -> bool:
        return name_or_mid in self._index_of

    def index(self, name_or_mid: str) -> int:
        """Returns the class index of a display name or MID.

        Raises:
          InputError: No such class; the message names the nearest one.
        """
        index = self._index_of.get(name_or_mid)
        if index is None:
            guess = nearest(name_or_mid, self.names)
            raise InputError(
                f"unknown class {name_or_mid!r} in vocabulary {self.name!r} "
                f"({len(self)} classes)"
                + (f"; did you mean {guess!r}?" if guess else "")
            )
        return index

    def common_with(self, other: "Vocabulary") -> tuple[np.ndarray, np.ndarray]:
        """Finds the classes both lists have.

        Two classes are the same if their MIDs are equal; where either has no MID, if
        their names are.

        Returns:
          `(own_indices, other_indices)`, int64 `[common]` each, in this list's order.
        """
        by_mid = {mid: i for i, mid in enumerate(other.mids) if mid is not None}
        by_name = {name: i for i, name in enumerate(other.names)}
        pairs = []
        for own, (name, mid) in enumerate(zip(self.names, self.mids, strict=True)):
            theirs = by_mid.get(mid) if mid is not None else None
            if theirs is None:
                theirs = by_name.get(name)
                if theirs is not None and mid and other.mids[theirs]:
                    theirs = None  # both have a MID, and the MIDs differ
            if theirs is not None:
                pairs.append((own, theirs))
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def to_json(self) -> dict:
        """Returns a JSON-able dict that `from_json` reads back; includes the hash."""
        classes = [
            {"mid": mid, "name": name}
            for name, mid in zip(self.names, self.mids, strict=True)
        ]
        return {"name": self.name, "hash": self.hash, "classes": classes}

    @classmethod
    def from_json(cls, value: Mapping | str) -> "Vocabulary":
        """Builds a vocabulary from `to_json`'s dict (or the text of one).

        `hash` may be absent (hand-written lists); if present it must fit. `classes`
        may also be a plain list of display names.

        Raises:
          InputError: Not of this form, or the hash does not fit the classes.
        """
        try:
            if isinstance(value, str):
                value = json.loads(value)
            classes = [
                {"name": entry} if isinstance(entry, str) else entry
                for entry in value["classes"]
            ]
            name = str(value["name"])
            names = [entry["name"] for entry in classes]
            mids = [entry.get("mid") for entry in classes]
            if not all(isinstance(text, str) for text in names):
                raise TypeError("a class name is not text")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                'not a vocabulary: expected {"name": ..., "classes": [{"name": ..., '
                f'"mid": ...}}, ...]}} ({type(error).__name__}: {error})'
            ) from error
        vocabulary = cls(name, tuple(names), tuple(mids))
        if value.get("hash", vocabulary.hash) != vocabulary.hash:
            raise InputError(
                f"vocabulary {name!r} was changed by hand: its hash is "
                f"{value['hash'][:12]}..., its classes give {vocabulary.hash[:12]}...;"
                " remove the hash if the change was meant"
            )
        return vocabulary


def load(name_or_path: str | Path) -> Vocabulary:
    """Loads a shipped list by name, or a vocabulary from a JSON file.

    Raises:
      InputError: Neither a shipped name nor a readable vocabulary file.
    """
    if str(name_or_path) in SHIPPED:
        file = resources.files("jaxsed.labels").joinpath(f"{name_or_path}.json")
        return Vocabulary.from_json(file.read_text(encoding="utf-8"))
    path = Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        guess = nearest(str(name_or_path), SHIPPED)
        raise InputError(
            f"no vocabulary {str(name_or_path)!r}: expected one of "
            f"{', '.join(SHIPPED)}, or the path of a vocabulary JSON"
            + (f"; did you mean {guess!r}?" if guess else "")
        ) from error
    try:
        return Vocabulary.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _first_repeated(values) -> str | None:
    seen = set()
    for value in values:
        if value is not None and value in seen:
            return value
        seen.add(value)
    return None
