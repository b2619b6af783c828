import pickle

import numpy as np
import pytest

from jaxsed.data import text_column
from jaxsed.data.text_column import TextColumn

TEXTS = ["b0RFKhbpFJA_30000", "", "音 ü", "x\x00y", "z" * 300]


@pytest.mark.parametrize("at_once", [1, 2, 5, 65_536])
def test_texts_come_back(monkeypatch, at_once):
    monkeypatch.setattr(text_column, "_TEXTS_AT_ONCE", at_once)
    column = TextColumn.of(iter(TEXTS))
    assert len(column) == 5
    assert list(column) == column.tolist() == TEXTS
    assert [column[i] for i in range(-5, 5)] == TEXTS * 2
    assert column[np.int32(2)] == "音 ü"
    assert "音 ü" in column and "ü" not in column
    assert list(pickle.loads(pickle.dumps(column))) == TEXTS


@pytest.mark.parametrize(
    "part",
    [slice(1, 3), slice(None), slice(4, 1), slice(-2, None), slice(None, None, 2)],
)
def test_slices_are_those_of_a_list(part):
    assert TextColumn.of(TEXTS)[part] == TEXTS[part]


def test_rows_outside_are_refused():
    for row in (5, -6):
        with pytest.raises(IndexError):
            TextColumn.of(TEXTS)[row]
    with pytest.raises(IndexError):
        TextColumn.of([])[0]
    assert list(TextColumn.of([])) == []


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="4 bytes of text"):
        TextColumn(np.zeros(4, np.uint8), np.array([0, 3]))
