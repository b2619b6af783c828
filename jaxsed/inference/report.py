"""One picture a sound file: spectrogram, scores over time, detected and true events."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.inference import class_rows, pictures, stream
from jaxsed.inference.class_rows import (
    DETECTED,
    QUIET,
    SCORE_FILL,
    SCORE_LINE,
    TRUE,
    NamedEvent,
)
from jaxsed.inference.overview import Overview, SpectrogramOverview

COLUMNS = 1500  # about the width of the picture in pixels
RANGE_DECIBELS = 70.0
ROW_INCHES = 0.5
TICKS_HZ = (16000, 8000, 4000, 2000, 1000, 500, 250, 125)


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
    pictures.require_matplotlib()
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
        scores, merged = self._scores.finish()
        events = [
            NamedEvent(event.onset, event.offset, self._labels[event.label])
            for event in found.events
        ]
        true_events = [NamedEvent(*event) for event in truth or ()]
        names, left_out = class_rows.choose(
            self._labels, scores.max(axis=0), events, true_events
        )
        figure = pictures.new_figure(12, 3.1 + ROW_INCHES * len(names))
        top, rows = figure.subplots(
            2, 1, sharex=True, height_ratios=(2.0, ROW_INCHES * len(names))
        )
        top.set_title(
            pictures.printable(title),
            loc="left",
            fontsize=12,
            weight="bold",
            parse_math=False,
        )
        self._draw_spectrogram(top, found.duration_seconds)
        seconds = merged * self._frame_seconds
        for row, name in enumerate(names):
            values = None
            if name in self._labels:
                values = scores[:, self._labels.index(name)]
            class_rows.draw_scores(rows, row, values, seconds, threshold)
        shortest = found.duration_seconds / 700  # still visible
        class_rows.draw_events(rows, events, names, DETECTED, 0.80, shortest)
        class_rows.draw_events(rows, true_events, names, TRUE, 0.93, shortest)
        class_rows.finish(rows, names, found.duration_seconds, left_out)
        _draw_legend(figure, threshold, with_truth=truth is not None)
        pictures.write(figure, path)

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
