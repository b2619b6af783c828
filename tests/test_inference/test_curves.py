import json

import pytest

from jaxsed.errors import InputError
from jaxsed.inference import curves
from tests.test_inference.pixels import amount, pixels


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
