"""Training curves of several runs in one picture."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from jaxsed.errors import InputError
from jaxsed.inference import pictures

# Panels from left to right: title, and the ends of the metric names that they show.
# Of several ends the first that any run has is taken.
PANELS = (
    ("training loss", ("train/loss", "loss")),
    ("PSDS1, mean of classes", ("/psds1_macro",)),
    ("PSDS1, with variance penalty", ("/psds1",)),
    ("mean average precision", ("/map", "/mAP")),
)
SMOOTHED_POINTS = 60  # a loss with more is drawn pale, with its running mean on top


def plot_curves(runs: Mapping[str, Path | str], out: Path | str) -> None:
    """Draws loss and evaluation scores over the steps of several runs.

    A run has the same colour in all panels. Panels without data are left out.

    Args:
      runs: Name of each run and its `metrics.jsonl`.
      out: The PNG, written in one step.

    Raises:
      InputError: A file cannot be read, or no run has a loss or a score; or matplotlib
        is missing.
    """
    pictures.require_matplotlib()
    read = {name: read_series(Path(path)) for name, path in runs.items()}
    panels = []
    for title, endings in PANELS:
        series = next(filter(None, (_matching(read, end) for end in endings)), None)
        if series:
            panels.append((title, series))
    if not panels:
        raise InputError(f"no loss or score to draw in {', '.join(map(str, runs))}")
    colors = dict(zip(read, _colors(len(read))))
    figure = pictures.new_figure(max(6.5, 4.6 * len(panels)), 4.4)
    for axes, (title, series) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels
    ):
        _draw_panel(axes, title, series, colors)
    _draw_legend(figure, colors)
    pictures.write(figure, Path(out))


def read_series(path: Path) -> dict[str, list[tuple[int, float]]]:
    """Reads `metrics.jsonl` into `{metric name: [(step, value), ...]}`.

    A last line that a crash cut off is left out, as are values that are not finite.

    Raises:
      InputError: The file cannot be read.
    """
    series: dict[str, list[tuple[int, float]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as metrics ({error})") from error
    for line in lines:
        try:
            values = json.loads(line)
            step = int(values.pop("step"))
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
        for name, value in values.items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if number and math.isfinite(value):
                series.setdefault(name, []).append((step, float(value)))
    return series


def _matching(read, ending: str) -> dict[str, list[tuple[int, float]]]:
    """Returns the series of each run whose name ends so; the first if several do."""
    found = {}
    for run, series in read.items():
        names = [name for name in series if f"/{name}".endswith(ending)]
        if names:
            found[run] = series[names[0]]
    return found


def _draw_panel(axes, title: str, series, colors) -> None:
    for run, points in series.items():
        steps, values = zip(*points)
        color = colors[run]
        if len(points) > SMOOTHED_POINTS:
            axes.plot(steps, values, color=color, linewidth=0.6, alpha=0.25)
            steps, values = _running_mean(steps, values, len(points) // 30)
            axes.plot(steps, values, color=color, linewidth=1.6)
        else:
            marker = "o" if len(points) < 30 else None
            axes.plot(steps, values, color=color, linewidth=1.6, marker=marker, ms=3.5)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(color="#e5e5e5", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    lowest = min(value for points in series.values() for _, value in points)
    if lowest >= 0:
        axes.set_ylim(bottom=0)


def _running_mean(steps, values, width: int):
    import numpy as np

    kernel = np.ones(width) / width
    smooth = np.convolve(values, kernel, mode="valid")
    return steps[width // 2 : width // 2 + len(smooth)], smooth


def _colors(count: int) -> list:
    from matplotlib import colormaps

    if count <= 10:
        return [colormaps["tab10"](index) for index in range(count)]
    return [colormaps["turbo"](0.05 + 0.9 * i / (count - 1)) for i in range(count)]


def _draw_legend(figure, colors) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=color, label=run) for run, color in colors.items()]
    legend = figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(5, len(handles)),
        frameon=False,
        fontsize=9,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
