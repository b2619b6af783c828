"""One picture a sound file: spectrogram, scores over time, detected and true events."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.inference import stream
from jaxsed.inference.outputs import replacing
from jaxsed.inference.overview import Overview, SpectrogramOverview

COLUMNS = 1500  # about the width of the picture in pixels
MOST_CLASSES = 12
FEWEST_CLASSES = 5
RANGE_DECIBELS = 70.0
ROW_INCHES = 0.5

# Blue is the model, orange the truth, in every picture.
SCORE_FILL, SCORE_LINE, DETECTED, TRUE = "#c6dbef", "#6baed6", "#08519c", "#e6550d"
QUIET = "#666666"
TICKS_HZ = (16000, 8000, 4000, 2000, 1000, 500, 250, 125)
TICKS_SECONDS = (10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)


class NamedEvent(NamedTuple):
    """A true event with the name of its class."""

    onset: float
    offset: float
    label: str


def draw_file(
    detector,
    path: str | Path,
    out: str | Path,
    *,
    truth: Iterable[NamedEvent] | None = None,
    title: str | None = None,
    threshold: float = 0.5,
    median_seconds: float | None = None,
    postprocess: str | Postprocessing | None = None,
) -> stream.Detections:
    """Detects the events of a sound file and draws a picture of it.

    Args:
      detector: A `detector.Detector`.
      path: The sound.
      out: The PNG to write.
      truth: True events, `(onset, offset, class name)`, if known.
      title: By default the name of the file.
      threshold: As of `Detector.detect`; so are the others.
      median_seconds: Width of the median filter.
      postprocess: How scores become events.

    Raises:
      AudioError: The file cannot be used.
      InputError: An option is out of range, or matplotlib is missing.
    """
    require_matplotlib()
    picture = Picture(detector)
    found = stream.detect(
        detector,
        path,
        choose(postprocess, median_seconds, None, threshold, detector.postprocessing),
        on_audio=[picture.add_audio],
        on_filtered=[picture.add_scores],
    )
    picture.draw(
        Path(out),
        title=Path(path).name if title is None else title,
        found=found,
        threshold=threshold,
        truth=truth,
    )
    return found


def require_matplotlib() -> None:
    """Raises InputError if there is no matplotlib, an optional dependency."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError(
            "pictures need matplotlib: pip install 'jaxsed[report]'"
        ) from error


class Picture:
    """Collects what a picture shows while the sound streams by.

    A long sound is shown whole: of the instants that fall on one pixel the highest
    score and the loudest spectrum are seen.

    Args:
      detector: A `detector.Detector`.
    """

    def __init__(self, detector):
        self._labels = detector.labels
        self._frame_seconds = detector.frame_seconds
        self._spectrogram = SpectrogramOverview(detector.frontend, COLUMNS)
        self._scores = Overview(COLUMNS)

    def add_audio(self, block: np.ndarray) -> None:
        """Takes the next samples, float32 `[n]`."""
        self._spectrogram.add(block)

    def add_scores(self, scores: np.ndarray) -> None:
        """Takes the next scores after the filter, `[k, c]` in [0, 1]."""
        self._scores.add(scores)

    def draw(
        self,
        path: Path,
        *,
        title: str,
        found: stream.Detections,
        threshold: float,
        truth: Iterable[NamedEvent] | None = None,
    ) -> None:
        """Writes the picture as PNG, in one step. Call once, after all pieces.

        Args:
          path: The PNG.
          title: Text above it.
          found: What was detected.
          threshold: Drawn as a line in every row.
          truth: True events; None if not known, and the picture says nothing of them.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        scores, merged = self._scores.finish()
        events = [
            NamedEvent(event.onset, event.offset, self._labels[event.label])
            for event in found.events
        ]
        true_events = None if truth is None else [NamedEvent(*event) for event in truth]
        names, left_out = self._rows(scores.max(axis=0), found, true_events or [])
        figure = Figure(
            figsize=(12, 3.1 + ROW_INCHES * len(names)), dpi=110, layout="constrained"
        )
        top, rows = figure.subplots(
            2, 1, sharex=True, height_ratios=(2.0, ROW_INCHES * len(names))
        )
        top.set_title(
            _printable(title), loc="left", fontsize=12, weight="bold", parse_math=False
        )
        self._draw_spectrogram(top, found.duration_seconds)
        seconds = merged * self._frame_seconds
        for row, name in enumerate(names):
            values = None
            if name in self._labels:
                values = scores[:, self._labels.index(name)]
            _draw_scores(rows, row, values, seconds, threshold)
        shortest = found.duration_seconds / 700  # still visible
        _draw_events(rows, events, names, DETECTED, 0.80, shortest)
        _draw_events(rows, true_events or [], names, TRUE, 0.93, shortest)
        _finish_rows(rows, names, found.duration_seconds, left_out)
        _draw_legend(figure, threshold, with_truth=true_events is not None)
        with replacing(path) as partial, warnings.catch_warnings():
            # A name in a script that the font lacks is drawn as boxes; that is all.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            FigureCanvasAgg(figure).print_png(partial)

    def _rows(
        self,
        peaks: np.ndarray,
        found: stream.Detections,
        truth: Sequence[NamedEvent],
    ) -> tuple[list[str], int]:
        """Chooses classes: the true and the detected ones, then the highest scores."""
        order = [self._labels[label] for label in np.argsort(-peaks, kind="stable")]
        detected = {self._labels[event.label] for event in found.events}
        true = dict.fromkeys(event.label for event in truth)
        first = [name for name in order if name in true]
        first += [name for name in true if name not in first]
        wanted = first + [n for n in order if n in detected and n not in true]
        others = [name for name in order if name not in wanted]
        names = wanted + others[: max(0, FEWEST_CLASSES - len(wanted))]
        return names[:MOST_CLASSES], max(0, len(wanted) - MOST_CLASSES)

    def _draw_spectrogram(self, axes, duration: float) -> None:
        decibels, seconds = self._spectrogram.finish()
        highest = float(np.percentile(decibels, 99.9))
        n_columns, n_mels = decibels.shape
        # Column k is centred on k hops.
        left, right = -seconds / 2, (n_columns - 0.5) * seconds
        axes.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            interpolation="nearest",
            extent=(left, right, -0.5, n_mels - 0.5),
            vmin=highest - RANGE_DECIBELS,
            vmax=highest,
        )
        ticks = {}
        for hertz, place in zip(TICKS_HZ, self._spectrogram.bin_of(TICKS_HZ)):
            # From the top, as far as there is room: low octaves are narrow in mel.
            if place <= min(ticks, default=n_mels) - 0.08 * n_mels:
                ticks[place] = (
                    f"{hertz / 1000:g} kHz" if hertz >= 1000 else f"{hertz} Hz"
                )
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.tick_params(labelsize=9, color=QUIET)
        axes.set_xlim(0, duration)


def _draw_scores(axes, row: int, values, seconds: float, threshold: float) -> None:
    """Draws a row: the score as an area on the row's floor, 0.7 high for 1."""
    floor, height = row + 0.72, 0.66
    axes.plot((0, 1e9), (floor, floor), color="#dddddd", linewidth=0.6, zorder=1)
    if values is None:
        return
    level = floor - height * threshold
    axes.plot((0, 1e9), (level, level), ":", color=QUIET, linewidth=0.7, zorder=3)
    edges = np.arange(len(values) + 1) * seconds
    tops = floor - height * np.append(values, values[-1])
    style = {"step": "post", "color": SCORE_FILL, "linewidth": 0, "zorder": 2}
    axes.fill_between(edges, floor, tops, **style)
    axes.step(edges, tops, where="post", color=SCORE_LINE, linewidth=0.8, zorder=2)


def _draw_events(
    axes,
    events: Iterable[NamedEvent],
    names: Sequence[str],
    color: str,
    place: float,
    shortest: float,
) -> None:
    for row, name in enumerate(names):
        spans = [
            (event.onset, max(event.offset - event.onset, shortest))
            for event in events
            if event.label == name
        ]
        axes.broken_barh(spans, (row + place - 0.05, 0.1), color=color, linewidth=0)


def _finish_rows(axes, names: Sequence[str], duration: float, left_out: int) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_ylim(len(names) + 0.05, 0)  # the first class on top
    axes.set_yticks(np.arange(len(names)) + 0.5, [_printable(n, 34) for n in names])
    for text in axes.get_yticklabels():
        text.set_parse_math(False)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.tick_params(axis="x", labelsize=9, color=QUIET)
    axes.set_xlim(0, duration)
    axes.spines[["top", "right", "left"]].set_visible(False)
    unit = "seconds"
    if duration >= 120:
        step = next((t for t in TICKS_SECONDS if duration / t <= 12), 86400)
        axes.xaxis.set_major_locator(MultipleLocator(step))
        axes.xaxis.set_major_formatter(FuncFormatter(clock))
        unit = "h:mm:ss" if duration >= 3600 else "m:ss"
    more = f"; {left_out} more classes detected" if left_out else ""
    axes.set_xlabel(f"time ({unit}){more}", fontsize=9, color=QUIET)


def _draw_legend(figure, threshold: float, with_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=SCORE_FILL, edgecolor=SCORE_LINE, label="score (0 to 1)"),
        Line2D([], [], linestyle=":", color=QUIET, label=f"threshold {threshold:g}"),
        Patch(color=DETECTED, label="detected"),
    ]
    if with_truth:
        handles.append(Patch(color=TRUE, label="true"))
    figure.legend(
        handles=handles,
        loc="outside lower right",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )


def clock(seconds: float, _position=None) -> str:
    """Returns seconds as m:ss or h:mm:ss. A tick formatter of matplotlib."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _printable(text: str, most: int = 90) -> str:
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return text if len(text) <= most else text[: most - 1] + "…"
