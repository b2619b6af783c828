import sys

import pytest

from jaxsed.errors import InputError
from jaxsed.inference import report
from tests.test_inference.pixels import amount, pixels
from tests.test_inference.sounds import write_sound


def test_picture_shows_detected_and_true_events(detector, tmp_path):
    path = write_sound(tmp_path / "a $1 größe.wav", 8)
    out = tmp_path / "pictures" / "a.png"
    truth = [(1.0, 3.0, "Bell"), (2.0, 2.5, "A class $x$ of another list")]
    found = report.draw_file(detector, path, out, truth=truth, threshold=0.5)
    table = detector.detect(path)
    assert len(found.events) == len(table) > 0
    with_truth = amount(out, report.TRUE)
    assert with_truth > 100 and amount(out, report.DETECTED) > 100
    nothing = report.draw_file(detector, path, out, threshold=0.9999)
    assert not nothing.events and pixels(out).shape[1] == 1320
    assert amount(out, report.TRUE) == 0
    assert amount(out, report.DETECTED) < 400  # the legend
    again = tmp_path / "again.png"
    report.draw_file(detector, path, again, threshold=0.9999)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("seconds", [0.02, 0.3, 130.0])
def test_any_length_can_be_drawn(detector, tmp_path, seconds):
    path = write_sound(tmp_path / "a.wav", seconds, 8000)
    report.draw_file(detector, path, tmp_path / "a.png")
    assert pixels(tmp_path / "a.png").std() > 10


def test_without_matplotlib_nothing_is_computed(monkeypatch, detector, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"jaxsed\[report\]"):
        report.draw_file(detector, tmp_path / "gone.wav", tmp_path / "a.png")
