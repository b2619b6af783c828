import sys
import warnings

import pytest

from jaxsed.errors import InputError
from jaxsed.inference import pictures
from tests.test_inference.pixels import pixels


def test_ticks_read_as_time():
    assert [pictures.clock(s) for s in (0, 59.9, 61, 3600, 7325)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "2:02:05",
    ]


def test_text_fits_on_a_line():
    assert pictures.printable("a\n b\t\udcff") == "a b \\udcff"
    assert pictures.printable("abcdef", most=4) == "abc…"


def test_a_picture_is_written_whatever_letters_are_in_it(tmp_path):
    figure = pictures.new_figure(2, 1)
    figure.text(0, 0.5, "\U0001f415")  # no font has it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures.write(figure, tmp_path / "sub" / "a.png")
    shown = pixels(tmp_path / "sub" / "a.png")
    assert shown.shape[:2] == (pictures.DOTS_PER_INCH, 2 * pictures.DOTS_PER_INCH)
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.png"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"jaxsed\[report\]"):
        pictures.require_matplotlib()
