"""Sound event bounding boxes: events whose ends do not move with the threshold.

Ebbers et al. 2024, "Sound Event Bounding Boxes" (arXiv 2406.04212), the boxes by change
detection (cSEBBs): the candidates of `jaxsed.evaluation.change_points`, of which
neighbours are joined where the scores in between are not much lower. The confidence of a
box is the mean of the scores in it.

Boxes are those of the authors' package `sebbs`, which is under the AGPL and of which
nothing is used here. Two things differ: where the filter's output stays the same, rounding
errors do not decide; and in clips with several candidates the package divides by 1 µs more
than a box's length.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxsed.evaluation.change_points import Candidates, ChangePoints

# Added to both scores whose ratio is compared, as the package does.
_RATIO_OFFSET = 1e-3


class BoxSettings(NamedTuple):
    """How the boxes of a class are made. The defaults are the package's.

    Attributes:
        step_seconds: length of the step filter that finds candidates.
        merge_difference: neighbours are joined if the highest score of either is above
            the lowest one between them by less than this,
        merge_ratio: and by a smaller factor than this. Infinite ones are no condition.
    """

    step_seconds: float = 0.5
    merge_difference: float = 1.0
    merge_ratio: float = 2.0

    def to_json(self) -> dict[str, float | None]:
        """Returns a dict; what is infinite is None."""
        return {
            name: value if math.isfinite(value) else None
            for name, value in self._asdict().items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "BoxSettings":
        """Reads what `to_json` gives.

        Raises:
            ValueError: a number is out of range.
            TypeError: it is something else.
        """
        found = {
            name: math.inf if number is None else float(number)
            for name, number in value.items()
        }
        settings = cls(**found)
        if not (0 < settings.step_seconds < math.inf and min(settings) >= 0):
            raise ValueError(f"box settings out of range: {dict(value)}")
        return settings


class Boxes(NamedTuple):
    """Boxes of some rows, by row and onset; no two of a row touch. `[k]` each.

    Attributes:
        row: int64.
        onset: float64, seconds.
        offset: float64, seconds.
        confidence: float64.
    """

    row: np.ndarray
    onset: np.ndarray
    offset: np.ndarray
    confidence: np.ndarray

    def these(self, chosen: np.ndarray) -> "Boxes":
        """Returns some of them: a mask or indices."""
        return Boxes(*(column[chosen] for column in self))


def bounding_boxes(
    scores: np.ndarray, borders: np.ndarray, settings: BoxSettings
) -> Boxes:
    """Finds the boxes in rows of scores, such as those of one class in many clips.

    Args:
        scores: `[r, t]`, probabilities.
        borders: borders of the frames in seconds, `[t + 1]`.
        settings: of all rows.
    """
    stream = _RowBoxes(len(scores), settings)
    return _together([stream.add(scores, borders), stream.finish()])


def bounding_boxes_of_classes(
    scores: np.ndarray, borders: np.ndarray, settings: Sequence[BoxSettings]
) -> Boxes:
    """Finds the boxes in the scores of a sound; the row of each is its class.

    Args:
        scores: `[t, c]`, probabilities.
        borders: borders of the frames in seconds, `[t + 1]`.
        settings: of each class.
    """
    stream = BoxStream(settings)
    return _together([stream.add(scores, borders), stream.finish()])


class BoxStream:
    """Boxes of scores that arrive in pieces: those of the whole.

    Args:
        settings: of each class.
    """

    def __init__(self, settings: Sequence[BoxSettings]):
        self._groups = []
        for different in dict.fromkeys(settings):
            classes = np.flatnonzero([other == different for other in settings])
            self._groups.append((classes, _RowBoxes(len(classes), different)))

    def add(self, scores: np.ndarray, borders: np.ndarray) -> Boxes:
        """Takes the next frames.

        Args:
            scores: `[k, c]`, probabilities.
            borders: of these frames in seconds, `[k + 1]`.

        Returns:
            Boxes that are complete with them; the row of each is its class.
        """
        return _together(
            [
                _of_classes(boxes.add(scores[:, classes].T, borders), classes)
                for classes, boxes in self._groups
            ]
        )

    def finish(self) -> Boxes:
        """Returns the boxes that were left."""
        return _together(
            [_of_classes(boxes.finish(), classes) for classes, boxes in self._groups]
        )


def _of_classes(boxes: Boxes, classes: np.ndarray) -> Boxes:
    return boxes._replace(row=classes[boxes.row])


def _together(parts: Sequence[Boxes]) -> Boxes:
    boxes = Boxes(*map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(boxes.row, kind="stable")
    return boxes.these(order)


class _RowBoxes:
    """Boxes of rows with the same settings.

    Besides what `ChangePoints` holds, of each row the last candidate is held, or what was
    joined to it, because the next one may still be.
    """

    def __init__(self, n_rows: int, settings: BoxSettings):
        self._settings = settings
        self._points = ChangePoints(n_rows, settings.step_seconds)
        self._held: Candidates | None = None

    def add(self, scores: np.ndarray, borders: np.ndarray) -> Boxes:
        return self._join(self._points.add(scores, borders), last=False)

    def finish(self) -> Boxes:
        return self._join(self._points.finish(), last=True)

    def _join(self, new: Candidates, last: bool) -> Boxes:
        if self._held is not None:
            new = Candidates(*map(np.append, self._held, new))
            new = new.these(np.argsort(new.row, kind="stable"))
        joined = self._are_joined(new)
        first = np.flatnonzero(~joined)
        final = np.append(first[1:], len(joined))[: len(first)] - 1
        area = new.area + np.where(joined, new.gap_area, 0.0)
        groups = new.these(first)._replace(
            offset=new.offset[final],
            area=np.add.reduceat(area, first) if len(first) else area,
            highest=new.highest[final],  # what the next candidate is compared with
        )
        done = np.ones(len(first), bool)
        if not last:
            done[:-1] = groups.row[1:] == groups.row[:-1]
            done[-1:] = False
            self._held = groups.these(~done)
        box = groups.these(done)
        confidence = box.area / (box.offset - box.onset)
        return Boxes(box.row, box.onset, box.offset, confidence)

    def _are_joined(self, candidates: Candidates) -> np.ndarray:
        """Says which candidates are joined to the one before, bool `[k]`."""
        joined = candidates.row[1:] == candidates.row[:-1]
        gap = candidates.gap_lowest[1:]
        for score in (candidates.highest[:-1], candidates.highest[1:]):
            joined &= score - gap < self._settings.merge_difference
            factor = (score + _RATIO_OFFSET) / (gap + _RATIO_OFFSET)
            joined &= factor < self._settings.merge_ratio
        return np.append(False, joined)[: len(candidates.row)]
