"""Precision, recall, F-measure and error rate from counts, of each class and of all.

Definitions of sed_eval (Mesaros et al. 2016, "Metrics for Polyphonic Sound Event
Detection"), `sed_eval/metric.py` and `sed_eval/sound_event.py`.
"""

import dataclasses
import math

import numpy as np

# sed_eval adds it to the denominator of its error rates: without a reference they are
# huge and not a division by zero.
_SPACING = float(np.spacing(1))


@dataclasses.dataclass(frozen=True)
class Counts:
    """What was there, what was said to be there, and how much of it was right.

    The unit is an event or a segment. Counts of several files are added with `+`.

    Attributes:
        reference: int64 `[c]`, true ones of each class.
        detected: int64 `[c]`, detected ones.
        correct: int64 `[c]`, detected ones that are true.
    """

    reference: np.ndarray
    detected: np.ndarray
    correct: np.ndarray

    def __add__(self, other: "Counts") -> "Counts":
        """Returns the counts of both."""
        return Counts(
            self.reference + other.reference,
            self.detected + other.detected,
            self.correct + other.correct,
        )

    def f_measure(self) -> float:
        """F-measure of all classes counted together (micro), 0 to 1.

        NaN if nothing was there and nothing was detected; 0 if one of them.
        """
        sums = (int(counts.sum()) for counts in self._columns())
        return f_measure(*sums)

    def class_f_measures(self) -> np.ndarray:
        """F-measure of each class, float64 `[c]`; NaN for classes that are not there."""
        values = (f_measure(*counts) for counts in zip(*self._columns()))
        with_reference = self.reference > 0
        return np.where(with_reference, np.fromiter(values, float), math.nan)

    def macro_f_measure(self) -> float:
        """Mean of the classes that are there; one without detections counts as 0.

        As DCASE's baselines (`empty_system_output_handling="zero_score"`). Without that
        argument sed_eval leaves classes out that were never detected: a detector would
        gain by keeping silent.
        """
        found = self.class_f_measures()
        found = found[~np.isnan(found)]
        return float(found.mean()) if found.size else math.nan

    def _columns(self):
        return self.reference, self.detected, self.correct


def f_measure(reference: int, detected: int, correct: int) -> float:
    """Returns the harmonic mean of precision and recall, 2 TP / (true + detected)."""
    if not reference + detected:
        return math.nan
    return 2 * correct / (reference + detected)


@dataclasses.dataclass(frozen=True)
class Errors:
    """Segments (or events) of all classes that were wrong; added with `+`.

    Attributes:
        reference: how many there were.
        substitutions: another class was detected in its place.
        deletions: nothing was detected.
        insertions: detected where nothing was.
    """

    reference: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: "Errors") -> "Errors":
        """Returns the errors of both."""
        ours, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Errors(*(a + b for a, b in zip(ours, theirs)))

    def rate(self) -> float:
        """Error rate: all errors for one that was there; may exceed 1, 0 is best."""
        wrong = self.substitutions + self.deletions + self.insertions
        return wrong / (self.reference + _SPACING)
