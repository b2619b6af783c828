"""A trained model behind a waveform: what `jaxsed.load` returns."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxsed.audio.windows import Stitcher, Window, WindowPlan, cut
from jaxsed.errors import InputError
from jaxsed.evaluation.postprocess import Postprocessing, choose, of_model
from jaxsed.inference import dataframes, stream, waveforms
from jaxsed.inference.batches import BatchedModel
from jaxsed.labels.vocab import Vocabulary
from jaxsed.weights import architecture, files, named

OVERLAP = 0.2  # 2 s of a 10 s window: a quarter more work than without


def load(
    path: str | Path,
    *,
    batch_size: int = 8,
    overlap: float = OVERLAP,
    dtype: str = "float32",
) -> "Detector":
    """Loads a model folder, such as `RUN/model`, or a released model by its name.

    A `postprocess.json` in it, as `jaxsed tune` writes it, says how scores become events;
    else they do as in the evaluations of its training.

    Args:
      path: The folder; or a name of `jaxsed weights list`, e.g. "BEATs_strong_1", which
        is fetched and converted where that has not been done on this machine.
      batch_size: Windows computed at a time, at most.
      overlap: Part of a window that it shares with the next, for sounds longer than
        one window.
      dtype: Type of the matrix products: "float32" or "bfloat16".

    Raises:
      InputError: No model there and no model of that name, one that cannot be had, a
        damaged one, or one that this jaxsed cannot build.
    """
    folder = named.model_folder(path)
    params, description = files.load_model(folder)
    try:
        model = architecture.build_with_classes(description, dtype)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return Detector(
        model,
        params,
        description,
        batch_size=batch_size,
        overlap=overlap,
        postprocessing=of_model(folder, description),
    )


class Detector:
    """Detects events in waveforms and files with one model.

    Deterministic: the same sound gives the same numbers, in whatever company.

    Attributes:
      description: Content of `model.json`.
      vocabulary: The classes.
      labels: Their display names, a tuple.
      frontend: The `frontends.presets.Preset` of the model.
      sample_rate: Of the waveforms, Hz.
      frame_seconds: Length of a label frame, 0.04.
      batch_size: Windows computed at a time, at most.
      overlap: Part of a window that it shares with the next.
      postprocessing: How scores become events, unless told otherwise.
    """

    def __init__(
        self,
        model,
        params: Mapping[str, Any],
        description: Mapping[str, Any],
        *,
        batch_size: int = 8,
        overlap: float = OVERLAP,
        postprocessing: Postprocessing | None = None,
    ):
        """Puts a detector together; `load` does it from a folder.

        Args:
          model: A `models.sed.SoundEventModel`.
          params: Its parameters.
          description: As in `model.json`; `vocabulary` and `frame_seconds` are read.
          batch_size: Windows computed at a time, at most.
          overlap: Part of a window that it shares with the next.
          postprocessing: How scores become events; by default a median filter.

        Raises:
          InputError: The post-processing was tuned for other classes, or the overlap is
            out of range.
        """
        self.description = dict(description)
        self.vocabulary = Vocabulary.from_json(description["vocabulary"])
        self.labels = self.vocabulary.names
        self.frontend = model.frontend
        self.sample_rate = model.frontend.sample_rate
        self.frame_seconds = float(description["frame_seconds"])
        self.batch_size = batch_size
        self.overlap = overlap
        self.postprocessing = postprocessing or Postprocessing()
        self.postprocessing.check_classes(self.labels)
        self._clip_seconds = model.encoder.clip_seconds
        self._grid = model.encoder.grid
        self._plan(overlap)  # refuses a wrong overlap now
        self._computed = BatchedModel(model, params, batch_size)

    def __repr__(self) -> str:
        return (
            f"<jaxsed.Detector {self.description['encoder']}, {len(self.labels)} "
            f"classes of {self.vocabulary.name}, {self.sample_rate} Hz>"
        )

    def logits(self, wave: np.ndarray) -> np.ndarray:
        """Computes frame logits of waveforms of any length.

        Longer than one window (10 s): overlapped windows, one fading into the next.
        Shorter: up to the end of its last label frame filled with zeros, and masked
        beyond, so that the model sees the sound and nothing else.

        Args:
          wave: Float `[b, n]` at `sample_rate`, full scale 1.

        Returns:
          float32 `[b, ceil(25 * seconds), c]`: 250 frames for 10 s.

        Raises:
          InputError: Not such an array, or not finite.
        """
        return self._over_clips(wave, "logits")

    def clip_logits(self, wave: np.ndarray) -> np.ndarray:
        """Computes clip logits of waveforms.

        Of sounds longer than one window, the mean over the windows, each weighted by
        the time for which it speaks.

        Args:
          wave: Float `[b, n]` at `sample_rate`, full scale 1.

        Returns:
          float32 `[b, c]`.

        Raises:
          InputError: Not such an array, or not finite.
        """
        # As frames that are equal all over a window, they are joined like any frames.
        return self._over_clips(wave, "clip_logits").mean(axis=1)

    def frames(self, wave: np.ndarray) -> np.ndarray:
        """Computes the encoder's sequence, before it is aligned to label frames.

        Sounds longer than one window are encoded window by window, without overlap:
        an encoder's frames need not lie on the grid of label frames.

        Args:
          wave: Float `[b, n]` at `sample_rate`, full scale 1.

        Returns:
          float32 `[b, s, d]`; how many frames a second has is the encoder's.

        Raises:
          InputError: Not such an array, or not finite.
        """
        wave = waveforms.checked(wave)
        plan = self._plan(0)
        size = plan.window_samples
        cuts = range(size, wave.shape[1], size)
        columns = [self._encoded(piece, plan) for piece in np.split(wave, cuts, axis=1)]
        return np.concatenate(columns, axis=1)

    def _encoded(self, wave: np.ndarray, plan: WindowPlan) -> np.ndarray:
        """Encoder frames `[b, s, d]` of clips no longer than a window."""
        n_frames = plan.n_frames(wave.shape[1])
        lacking = plan.window_samples - wave.shape[1]
        windows = [
            plan.window(np.pad(clip, (0, lacking)), 0, n_frames, last=True)
            for clip in wave
        ]
        values = np.stack([v for _, v in self._computed(windows, "frames")])
        n_mel_frames = self.frontend.n_mel_frames(windows[0].n_samples)
        return values[:, : self._grid.n_frames(n_mel_frames)]

    def stream_logits(
        self, blocks: Iterable[np.ndarray], overlap: float | None = None
    ) -> Iterator[np.ndarray]:
        """Computes frame logits of a sound that arrives in blocks.

        Args:
          blocks: Float32 `[n]` each, finite.
          overlap: Part of a window shared with the next; None for the detector's.

        Yields:
          float32 `[k, c]`, k > 0; joined they are what `logits` gives.
        """
        overlap = self.overlap if overlap is None else overlap
        windows = cut(blocks, self._plan(overlap))
        for frames, _ in self._stitched(windows, "logits", overlap):
            if len(frames):
                yield frames

    def scores(self, path: str | Path, *, median_seconds: float = 0.0):
        """Computes the frame scores of a sound file, in sed_scores_eval's format.

        Args:
          path: A file of any length, rate and number of channels.
          median_seconds: Width of a median filter; not filtered by default, for
            evaluation does that itself.

        Returns:
          pandas DataFrame, a row a frame: `onset`, `offset` (seconds) and a column of
          probabilities for every class.

        Raises:
          AudioError: The file cannot be used.
          InputError: The width is out of range.
        """
        pieces: list[np.ndarray] = []
        filtered = Postprocessing(median_seconds=median_seconds)
        found = stream.detect(self, path, filtered, on_filtered=[pieces.append])
        return dataframes.of_scores(
            np.concatenate(pieces),
            self.labels,
            self.frame_seconds,
            found.duration_seconds,
        )

    def detect(
        self,
        path: str | Path,
        threshold: float = 0.5,
        median_seconds: float | None = None,
        *,
        postprocess: str | Postprocessing | None = None,
    ):
        """Detects the events in a sound file, in memory that its length does not matter to.

        Args:
          path: A file of any length, rate and number of channels.
          threshold: Events are runs of frames with a score greater than this, or
            bounding boxes with such a confidence.
          median_seconds: Width of the median filter over the scores; 0 for none.
          postprocess: See `postprocess.choose`. Without it and `median_seconds`, the
            model's own is used.

        Returns:
          pandas DataFrame, a row an event: `onset`, `offset` (seconds), `event_label`,
          `score` (the highest in the event).

        Raises:
          AudioError: The file cannot be used.
          InputError: An option is out of range.
        """
        own = self.postprocessing
        chosen = choose(postprocess, median_seconds, None, threshold, own)
        found = stream.detect(self, path, chosen)
        return dataframes.of_events(found.events, self.labels)

    def _plan(self, overlap: float) -> WindowPlan:
        frame_samples = round(self.frame_seconds * self.sample_rate)
        window_frames = round(self._clip_seconds / self.frame_seconds)
        return WindowPlan(frame_samples, window_frames, overlap)

    def _stitched(
        self, windows: Iterable[Window], output: str, overlap: float
    ) -> Iterator[tuple[np.ndarray, bool]]:
        """Yields final frames `[k, c]` and whether a sound ends with them."""
        plan = self._plan(overlap)
        stitcher = Stitcher(plan, len(self.labels))
        for window, values in self._computed(windows, output):
            frames = stitcher.add(window, values)
            if window.last:
                stitcher = Stitcher(plan, len(self.labels))
            yield frames, window.last

    def _over_clips(self, wave: np.ndarray, output: str) -> np.ndarray:
        wave = waveforms.checked(wave)
        plan = self._plan(self.overlap)
        windows = itertools.chain.from_iterable(cut([clip], plan) for clip in wave)
        stitched = self._stitched(windows, output, self.overlap)
        frames = np.concatenate([frames for frames, _ in stitched])
        return frames.reshape(len(wave), -1, len(self.labels))
