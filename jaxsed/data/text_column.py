"""A column of texts in two plain arrays, which a file can be mapped into.

Two million clip ids are 136 MB as a numpy array of text (four bytes for every character
of the longest) and 150 MB as a list of `str`; here they are 50 MB, and none of this
process where the arrays are mapped.
"""

import array
import operator
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

_TEXTS_AT_ONCE = 65_536  # bounds what an iteration holds


class TextColumn(Sequence[str]):
    """Texts by row: length, index, slice (a list) and iteration as of a list.

    Attributes:
      utf8: uint8 `[bytes]`, the texts one after the other.
      first_byte: int64 `[n + 1]`: text i is `utf8[first_byte[i]:first_byte[i + 1]]`.
    """

    def __init__(self, utf8: np.ndarray, first_byte: np.ndarray):
        """Takes the arrays as they are.

        Raises:
          ValueError: They do not fit each other.
        """
        if first_byte.ndim != 1 or not first_byte.size or first_byte[-1] != utf8.size:
            raise ValueError(f"{utf8.size} bytes of text do not fit their places")
        self.utf8, self.first_byte = utf8, first_byte

    @classmethod
    def of(cls, texts: Iterable[str]) -> "TextColumn":
        """Returns a column of these texts."""
        utf8, first_byte = bytearray(), array.array("q", [0])
        for text in texts:
            utf8 += text.encode("utf-8")
            first_byte.append(len(utf8))
        return cls(np.frombuffer(utf8, np.uint8), np.frombuffer(first_byte, np.int64))

    def __len__(self) -> int:
        return len(self.first_byte) - 1

    def __getitem__(self, row):
        if isinstance(row, slice):
            start, stop, step = row.indices(len(self))
            if step == 1:
                return list(self._texts(start, max(start, stop)))
            return [self[i] for i in range(start, stop, step)]
        i = operator.index(row)
        i = i + len(self) if i < 0 else i
        if not 0 <= i < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        start, stop = self.first_byte[i : i + 2].tolist()
        return self.utf8[start:stop].tobytes().decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _TEXTS_AT_ONCE):
            yield from self._texts(start, min(start + _TEXTS_AT_ONCE, len(self)))

    def _texts(self, start: int, stop: int) -> Iterator[str]:
        places = self.first_byte[start : stop + 1].tolist()
        utf8 = self.utf8[places[0] : places[-1]].tobytes()
        first, begin = places[0], 0
        for place in places[1:]:
            end = place - first
            yield utf8[begin:end].decode("utf-8")
            begin = end

    def tolist(self) -> list[str]:
        """Returns all texts."""
        return list(self)
