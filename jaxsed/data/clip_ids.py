"""Finding a clip under the spellings of its id that are about.

The same clip is `b0RFKhbpFJA_30000` in the tables of AudioSet Strong (video id, start
in ms), `Yb0RFKhbpFJA.mp3` in the released PretrainedSED data set, and its stem in the
published teacher logits. There the stem was made by `filename.rstrip(".mp3")`, which
removes *characters*: of `Yabcdefghi3m.mp3` it leaves `Yabcdefghi`
(`data_util/transforms.py`, `AddPseudoLabelsTransform`).
"""

import re
from collections.abc import Iterable, Iterator

_EXTENSION = re.compile(r"\.(wav|flac|ogg|opus|mp3|m4a|aac|aif|aiff|webm)$", re.I)
# AudioSet's own ids only: 11 characters of video id, then the start of the segment.
_VIDEO_AND_START = re.compile(r"^(Y?[\w-]{11})_\d+$")
_EATEN = ".mp3"  # the characters the released code strips from the right

EXACT, RESPELLED, TRUNCATED = "exact", "respelled", "truncated"


class ClipIds:
    """Looks up rows by clip id, exactly first and then respelled.

    Args:
        ids: of the rows; one that occurs twice is never found, since nobody can tell
            which row is meant.
    """

    def __init__(self, ids: Iterable[str]):
        self._rows: dict[str, int] = {}
        self._stems: dict[str, int] = {}
        for row, clip_id in enumerate(ids):
            _add(self._rows, clip_id, row)
            if (stem := _stem(clip_id)) != clip_id:
                _add(self._stems, stem, row)

    def find(self, clip_id: str) -> tuple[int, str] | None:
        """Returns (row, how it was found), or None.

        How: "exact"; "respelled" (with or without folder, extension, leading `Y`, start
        time); "truncated" (only with the trailing `.`, `m`, `p`, `3` gone).
        """
        row = self._rows.get(clip_id, -1)
        if row >= 0:
            return row, EXACT
        spellings = list(_spellings(clip_id))
        for how, respell in ((RESPELLED, str), (TRUNCATED, _truncated)):
            for spelling in map(respell, spellings):
                for rows in (self._rows, self._stems):
                    row = rows.get(spelling, -1) if spelling else -1
                    if row >= 0:
                        return row, how
        return None


def _add(rows: dict[str, int], key: str, row: int) -> None:
    rows[key] = -1 if key in rows else row  # -1: ambiguous


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
