"""The lower part of a picture: a row a class, with its score and its events over time."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from jaxsed.inference.pictures import clock, printable

MOST_CLASSES = 12
FEWEST_CLASSES = 5

# Blue is the model, orange the truth, in every picture.
SCORE_FILL, SCORE_LINE, DETECTED, TRUE = "#c6dbef", "#6baed6", "#08519c", "#e6550d"
QUIET = "#666666"
TICKS_SECONDS = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)


class NamedEvent(NamedTuple):
    """An event with the name of its class."""

    onset: float
    offset: float
    label: str


def choose(
    labels: Sequence[str],
    peaks: np.ndarray,
    detected: Iterable[NamedEvent],
    true: Iterable[NamedEvent],
) -> tuple[list[str], int]:
    """Chooses classes: the true and the detected ones, then the highest scores.

    Args:
      labels: Names of the model's classes.
      peaks: `[c]`, the highest score of each.
      detected: Events.
      true: Events; their classes need not be the model's.

    Returns:
      `(names, left_out)`: `FEWEST_CLASSES` to `MOST_CLASSES` names as far as there are
      so many, from top to bottom; how many more would have been drawn.
    """
    order = [labels[label] for label in np.argsort(-peaks, kind="stable")]
    found = {event.label for event in detected}
    true_names = dict.fromkeys(event.label for event in true)
    first = [name for name in order if name in true_names]
    first += [name for name in true_names if name not in first]
    wanted = first + [n for n in order if n in found and n not in true_names]
    others = [name for name in order if name not in wanted]
    names = wanted + others[: max(0, FEWEST_CLASSES - len(wanted))]
    return names[:MOST_CLASSES], max(0, len(wanted) - MOST_CLASSES)


def draw_scores(
    axes,
    row: int,
    values: np.ndarray | None,
    frame_seconds: float,
    threshold: float,
) -> None:
    """Draws a row: the score as an area on the row's floor, 0.66 high for 1.

    Args:
      axes: Of matplotlib.
      row: Number of the row, from the top.
      values: Scores `[t]`; None for a class that the model does not know.
      frame_seconds: What each of them lasts.
      threshold: Drawn as a line.
    """
    floor, height = row + 0.72, 0.66
    axes.plot((0, 1e9), (floor, floor), color="#dddddd", linewidth=0.6, zorder=1)
    if values is None:
        return
    level = floor - height * threshold
    axes.plot((0, 1e9), (level, level), ":", color=QUIET, linewidth=0.7, zorder=3)
    edges = np.arange(len(values) + 1) * frame_seconds
    tops = floor - height * np.append(values, values[-1])
    style = {"step": "post", "color": SCORE_FILL, "linewidth": 0, "zorder": 2}
    axes.fill_between(edges, floor, tops, **style)
    axes.step(edges, tops, where="post", color=SCORE_LINE, linewidth=0.8, zorder=2)


def draw_events(
    axes,
    events: Iterable[NamedEvent],
    names: Sequence[str],
    color: str,
    place: float,
    shortest_seconds: float,
) -> None:
    """Draws events as bars in the rows of their classes.

    Args:
      axes: Of matplotlib.
      events: To draw; those of other classes are passed over.
      names: Of the rows' classes.
      color: Of the bars.
      place: Where in a row, 0 (top) to 1.
      shortest_seconds: Length of shorter events' bars, so that they are seen.
    """
    events = list(events)
    for row, name in enumerate(names):
        spans = [
            (event.onset, max(event.offset - event.onset, shortest_seconds))
            for event in events
            if event.label == name
        ]
        axes.broken_barh(spans, (row + place - 0.05, 0.1), color=color, linewidth=0)


def finish(axes, names: Sequence[str], duration_seconds: float, left_out: int) -> None:
    """Names the rows and marks the time.

    Args:
      axes: Of matplotlib.
      names: Of the rows' classes.
      duration_seconds: Length of the sound.
      left_out: How many classes were detected that have no row.
    """
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_ylim(len(names) + 0.05, 0)  # the first class on top
    axes.set_yticks(np.arange(len(names)) + 0.5, [printable(n, 34) for n in names])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.tick_params(axis="x", labelsize=9, color=QUIET)
    axes.set_xlim(0, duration_seconds)
    axes.spines[["top", "right", "left"]].set_visible(False)
    unit = "seconds"
    if duration_seconds >= 120:
        ticks = (t for t in TICKS_SECONDS if duration_seconds / t <= 12)
        axes.xaxis.set_major_locator(MultipleLocator(next(ticks, 86400)))
        axes.xaxis.set_major_formatter(FuncFormatter(clock))
        unit = "h:mm:ss" if duration_seconds >= 3600 else "m:ss"
    more = f"; {left_out} more classes detected" if left_out else ""
    axes.set_xlabel(f"time ({unit}){more}", fontsize=9, color=QUIET)
