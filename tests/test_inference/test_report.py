import json
import sys

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.inference import curves, report
from jaxsed.labels.events import ScoredEvent
from tests.test_inference.conftest import LABELS
from tests.test_inference.sounds import write_sound


def pixels(path):
    from matplotlib.image import imread

    return (imread(path)[..., :3] * 255).round().astype(int)


def amount(path, color):
    """How many pixels have exactly this colour."""
    rgb = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels(path) == rgb).all(axis=-1).sum())


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


def test_rows_are_true_and_detected_classes_then_the_best(detector):
    picture = report.Picture(detector)
    events = [ScoredEvent(0, 1, 3, 0.9)]
    found = report.stream.Detections(events, 10.0, events[0])
    truth = [report.NamedEvent(0, 1, "Unheard of"), report.NamedEvent(0, 1, "Bell")]
    names, left_out = picture._rows(np.array([0.7, 0.1, 0.2, 0.9]), found, truth)
    assert names == ["Bell", "Unheard of", "Größe", "Bark", LABELS[2]]
    assert left_out == 0
    many = [report.NamedEvent(0, 1, f"class {k}") for k in range(20)]
    names, left_out = picture._rows(np.zeros(4), found, many)
    assert len(names) == report.MOST_CLASSES and left_out == 9


def test_ticks_read_as_time():
    assert [report.clock(s) for s in (0, 59.9, 61, 3600, 7325)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:00:00",
        "2:02:05",
    ]


def test_without_matplotlib_the_extra_is_named(monkeypatch, detector, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"jaxsed\[report\]"):
        report.draw_file(detector, tmp_path / "a.wav", tmp_path / "a.png")


def write_metrics(path, steps, **metrics):
    lines = [
        json.dumps(
            {"step": s, **{k.replace("__", "/"): f(s) for k, f in metrics.items()}}
        )
        for s in steps
    ]
    path.write_text(
        "\n".join([*lines, '{"step": 9, "done": true}', '{"step": 10, "tr'])
    )
    return path


def test_curves_of_runs_with_different_metrics(tmp_path):
    runs = {
        "weak $1": write_metrics(
            tmp_path / "a.jsonl", range(3), train__loss=float, eval__map=float
        ),
        "student": write_metrics(
            tmp_path / "b.jsonl",
            range(500),
            train__loss=lambda s: 1 / (1 + s),
            eval__psds1=float,
            eval__psds1_macro=float,
        ),
    }
    curves.plot_curves(runs, tmp_path / "out" / "curves.png")
    image = pixels(tmp_path / "out" / "curves.png")
    assert image.shape[1] > 4 * 400  # four panels
    for color in ("#1f77b4", "#ff7f0e"):
        assert amount(tmp_path / "out" / "curves.png", color) > 100


def test_series_are_read_as_far_as_they_go(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"step": 0, "train/loss": 0.5, "note": "x", "eval/psds1": null}\n'
        'not json\n[]\n{"train/loss": 1}\n'
        '{"step": 5, "train/loss": NaN, "done": true}\n{"step": 6, "train/loss": 2}'
    )
    assert curves.read_series(path) == {"train/loss": [(0, 0.5), (6, 2.0)]}


def test_nothing_to_draw_is_said(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text('{"step": 0, "lr": 1}\n')
    with pytest.raises(InputError, match="no loss or score to draw in one"):
        curves.plot_curves({"one": path}, tmp_path / "x.png")
    with pytest.raises(InputError, match=r"gone\.jsonl"):
        curves.plot_curves({"one": tmp_path / "gone.jsonl"}, tmp_path / "x.png")
