import numpy as np

from jaxsed.inference import class_rows
from jaxsed.inference.class_rows import NamedEvent
from tests.test_inference.conftest import LABELS


def test_rows_are_true_and_detected_classes_then_the_best():
    peaks = np.array([0.7, 0.1, 0.2, 0.9])
    detected = [NamedEvent(0, 1, "Größe")]
    true = [NamedEvent(0, 1, "Unheard of"), NamedEvent(0, 1, "Bell")]
    names, left_out = class_rows.choose(LABELS, peaks, detected, true)
    assert names == ["Bell", "Unheard of", "Größe", "Bark", LABELS[2]]
    assert left_out == 0
    many = [NamedEvent(0, 1, f"class {k}") for k in range(20)]
    names, left_out = class_rows.choose(LABELS, np.zeros(4), detected, many)
    assert len(names) == class_rows.MOST_CLASSES and left_out == 9
