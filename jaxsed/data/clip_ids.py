"""Finding a clip under the spellings of its id that are about.

The same clip is `b0RFKhbpFJA_30000` in the tables of AudioSet Strong (video id, start
in ms), `Yb0RFKhbpFJA.mp3` in the released PretrainedSED data set, and its stem in the
published teacher logits. There the stem was made by `filename.rstrip(".mp3")`, which
removes *characters*: of `Yabcdefghi3m.mp3` it leaves `Yabcdefghi`
(`data_util/transforms.py`, `AddPseudoLabelsTransform`).
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

_EXTENSION = re.compile(r"\.(wav|flac|ogg|opus|mp3|m4a|aac|aif|aiff|webm)$", re.I)
# AudioSet's own ids only: 11 characters of video id, then the start of the segment.
_VIDEO_AND_START = re.compile(r"^(Y?[\w-]{11})_\d+$")
_EATEN = ".mp3"  # the characters the released code strips from the right

EXACT, RESPELLED, TRUNCATED = "exact", "respelled", "truncated"

# FNV-1a of 64 bit (draft-eastlake-fnv, section 5).
_HASH_START, _HASH_PRIME, _HASH_MASK = 0xCBF29CE484222325, 0x100000001B3, 2**64 - 1
_IDS_AT_ONCE = 16_384  # bounds what is needed beside the result
_NONE = -1


class ClipIds:
    """Looks up rows by clip id, exactly first and then respelled.

    Of every id only a hash is kept, 12 bytes with its row: a dict of 2 million ids takes
    300 MB in each loader process. Two of 2 million share a hash with a chance of 1e-7,
    and are then not found rather than taken for each other.

    Args:
        ids: of the rows; one that occurs twice is never found, since nobody can tell
            which row is meant.
        cut_short: whether ids may be what the released code left of them. Of others
            `clip_1` would be found for `clip_13`.
    """

    def __init__(self, ids: Iterable[str], cut_short: bool = False):
        self._respellings = {RESPELLED: str}
        if cut_short:
            self._respellings[TRUNCATED] = _truncated
        hashes, stem_hashes, stem_rows = [], [], []
        n_rows = 0
        for chunk in _chunks(ids):
            texts = _as_bytes(chunk)
            hashes.append(_hashes(texts))
            # Few ids have a stem that differs: only those with a dot or a slash may.
            marked = np.isin(texts, (ord("."), ord("/"))).any(axis=1)
            stems = {
                row: stem
                for row in np.flatnonzero(marked).tolist()
                if (stem := _stem(chunk[row])) != chunk[row]
            }
            if stems:
                stem_hashes.append(_hashes(_as_bytes(list(stems.values()))))
                stem_rows.append(n_rows + np.fromiter(stems, np.int32))
            n_rows += len(chunk)
        self._n_rows = n_rows
        self._rows = _Table(hashes, [np.arange(n_rows, dtype=np.int32)])
        self._stems = _Table(stem_hashes, stem_rows)

    def __len__(self) -> int:
        return self._n_rows

    def find(self, clip_id: str) -> tuple[int, str] | None:
        """Returns (row, how it was found), or None.

        How: "exact"; "respelled" (with or without folder, extension, leading `Y`, start
        time); "truncated" (only with the trailing `.`, `m`, `p`, `3` gone, where ids
        are cut short).
        """
        row = self._rows.find(clip_id)
        if row >= 0:
            return row, EXACT
        spellings = list(_spellings(clip_id))
        for how, respell in self._respellings.items():
            for spelling in map(respell, spellings):
                for table in (self._rows, self._stems):
                    row = table.find(spelling) if spelling else _NONE
                    if row >= 0:
                        return row, how
        return None

    def find_all(self, clip_ids: Iterable[str]) -> Iterator[tuple[int, str] | None]:
        """Yields what `find` returns for each id; exact ones cost next to nothing."""
        for chunk in _chunks(clip_ids):
            rows = self._rows.find_all(_hashes(_as_bytes(chunk)))
            for clip_id, row in zip(chunk, rows.tolist()):
                yield (row, EXACT) if row >= 0 else self.find(clip_id)


class _Table:
    """Hashes, sorted, and the row of each; -1 for one that several rows have."""

    def __init__(self, hashes: list[np.ndarray], rows: list[np.ndarray]):
        self._empty = not hashes
        if self._empty:
            return
        joined = np.concatenate(hashes)
        order = np.argsort(joined)
        self._hashes, self._rows = joined[order], np.concatenate(rows)[order]
        repeated = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        self._rows[repeated] = self._rows[repeated + 1] = _NONE

    def find(self, text: str) -> int:
        if self._empty:
            return _NONE
        wanted = _HASH_START
        for byte in text.encode("utf-8"):
            wanted = (wanted ^ byte) * _HASH_PRIME & _HASH_MASK
        wanted = np.uint64(wanted)
        place = self._hashes.searchsorted(wanted)
        if place == len(self._hashes) or self._hashes[place] != wanted:
            return _NONE
        return int(self._rows[place])

    def find_all(self, wanted: np.ndarray) -> np.ndarray:
        if self._empty:
            return np.full(len(wanted), _NONE)
        place = self._hashes.searchsorted(wanted)
        place[place == len(self._hashes)] = 0
        return np.where(self._hashes[place] == wanted, self._rows[place], _NONE)


def _chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    ids = map(str, ids)
    while chunk := list(itertools.islice(ids, _IDS_AT_ONCE)):
        yield chunk


def _as_bytes(texts: Sequence[str]) -> np.ndarray:
    """Returns UTF-8 `[n, longest]`, filled up with zeros."""
    column = np.array([text.encode("utf-8") for text in texts], np.bytes_)
    return column.view(np.uint8).reshape(len(texts), column.itemsize)


def _hashes(texts: np.ndarray) -> np.ndarray:
    """Returns the hash (uint64 `[n]`) of every row of `_as_bytes`."""
    hashes = np.full(len(texts), _HASH_START, np.uint64)
    for byte in texts.T:
        mixed = (hashes ^ byte) * np.uint64(_HASH_PRIME)
        hashes = np.where(byte != 0, mixed, hashes)
    return hashes


def _stem(clip_id: str) -> str:
    return _EXTENSION.sub("", clip_id.rsplit("/", 1)[-1])


def _truncated(stem: str) -> str:
    return stem.rstrip(_EATEN)


def _spellings(clip_id: str) -> Iterator[str]:
    stem = _stem(clip_id)
    stems = [stem]
    if match := _VIDEO_AND_START.match(stem):
        stems.append(match[1])
    for stem in stems:
        yield stem
        yield f"Y{stem}"
        if stem.startswith("Y"):
            yield stem[1:]
