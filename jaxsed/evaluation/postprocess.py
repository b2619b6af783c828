"""What is done to frame scores before anything is counted, and how events are made of them.

  median         a median filter along time, of one width for all classes
  hear           the same, and the event times of the HEAR benchmark
  class_medians  a median filter of a width for each class (`jaxsed.evaluation.tuning`)
  sebb           sound event bounding boxes (`jaxsed.evaluation.bounding_boxes`)

Measures that take every threshold see the filtered scores, or the boxes with their
confidences. Detections have one threshold, and shorter ones can be left out.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError, check_known
from jaxsed.evaluation import hear
from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.median import PAPER_MEDIAN_SECONDS, median_width_frames
from jaxsed.labels.events import ScoredEvent

METHODS = ("median", "hear", "class_medians", "sebb")
FILE_NAME = "postprocess.json"  # beside a model's `model.json`
_FORMAT = "jaxsed-postprocess-1"
_DEFAULT_SECONDS = {"hear": (hear.MEDIAN_SECONDS, hear.MIN_SECONDS)}


class HasFrames(Protocol):
    """What scores come from, or are kept in."""

    @property
    def frame_seconds(self) -> float:
        """Distance of two frames in seconds."""


@dataclasses.dataclass(frozen=True)
class Postprocessing:
    """How scores become events.

    Attributes:
        method: one of `METHODS`.
        median_seconds: width of the median filter; 0 is off. With `class_medians`, of the
            classes that have none of their own; `sebb` takes the scores as they are.
        min_seconds: shorter detections are left out.
        threshold: of detections: a frame's score, or a box's confidence, is greater.
        classes: what was tuned, by class name: seconds (`class_medians`), or
            `BoxSettings` (`sebb`). Other classes have the defaults.

    Raises:
        InputError: an unknown method, or a number out of range.
    """

    method: str = "median"
    median_seconds: float = PAPER_MEDIAN_SECONDS
    min_seconds: float = 0.0
    threshold: float = 0.5
    classes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        check_known("postprocess", self.method, METHODS)
        for seconds in (self.median_seconds, *self._class_medians().values()):
            median_width_frames(seconds, 1.0)
        if not (math.isfinite(self.min_seconds) and self.min_seconds >= 0):
            raise InputError(
                f"min_seconds={self.min_seconds}: expected 0 or a positive number"
            )
        if not 0 <= self.threshold < 1:
            raise InputError(
                f"threshold={self.threshold} is not a probability; give "
                "0 <= threshold < 1, for example 0.5"
            )

    @property
    def makes_boxes(self) -> bool:
        """Whether events are bounding boxes and not runs of frames."""
        return self.method == "sebb"

    def median_widths(self, names: Sequence[str], framed: HasFrames) -> list[int]:
        """Returns the width of each class's median filter in frames, 0 where it is off.

        Args:
            names: of the classes.
            framed: a detector or stored scores; its frames are asked for only if a
                filter is on, as scores may have no one distance of frames.

        Raises:
            InputError: clips have other frames than others.
        """
        own = self._class_medians()
        seconds = [own.get(name, self.median_seconds) for name in names]
        if self.makes_boxes or not any(seconds):
            return [0] * len(names)
        return [median_width_frames(value, framed.frame_seconds) for value in seconds]

    def box_settings(self, names: Sequence[str]) -> list[BoxSettings]:
        """Returns how the boxes of each class are made."""
        return [self.classes.get(name, BoxSettings()) for name in names]

    def finished(
        self,
        onset: np.ndarray,
        offset: np.ndarray,
        label: np.ndarray,
        score: np.ndarray,
        duration_seconds: float,
    ) -> list[ScoredEvent]:
        """Returns detections as events, without those that are too short.

        Args:
            onset: seconds `[k]`.
            offset: seconds `[k]`.
            label: class indices `[k]`.
            score: `[k]`.
            duration_seconds: length of the sound, to which events are cut.

        Returns:
            Events sorted by onset, offset, label.
        """
        kept = hear.long_enough(onset, offset, self.min_seconds)
        kept &= onset < duration_seconds
        offset = np.minimum(offset, duration_seconds)
        columns = onset, offset, label.astype(int), score
        return sorted(map(ScoredEvent, *(column[kept].tolist() for column in columns)))

    @property
    def between_centres(self) -> bool:
        """Whether events last from the middle of their first frame to that of the last."""
        return self.method == "hear"

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuses what was tuned for other classes.

        Raises:
            InputError: none of the tuned classes is among `names`.
        """
        if self.classes and not self.classes.keys() & set(names):
            raise InputError(
                f"the post-processing was tuned for other classes (such as "
                f"{next(iter(self.classes))!r}, not {names[0]!r}): tune it again"
            )

    def _class_medians(self) -> dict[str, float]:
        return dict(self.classes) if self.method == "class_medians" else {}

    def to_json(self) -> dict[str, Any]:
        """Returns what `from_json` reads; the threshold is not part of it."""
        value = {"format": _FORMAT, "method": self.method}
        if not self.makes_boxes:
            value["median_seconds"] = self.median_seconds
        value["min_seconds"] = self.min_seconds
        if self.classes:
            value["classes"] = {
                name: of_class.to_json() if self.makes_boxes else of_class
                for name, of_class in self.classes.items()
            }
        return value

    @classmethod
    def from_json(cls, value: Any, where: str, threshold: float) -> "Postprocessing":
        """Reads what `to_json` gives.

        Args:
            value: parsed JSON.
            where: it comes from, for errors.
            threshold: of detections.

        Raises:
            InputError: it is something else.
        """
        try:
            if value["format"] != _FORMAT:
                raise ValueError(f"format {value['format']!r}, expected {_FORMAT!r}")
            method, classes = str(value["method"]), dict(value.get("classes", {}))
            read = BoxSettings.from_json if method == "sebb" else float
            return cls(
                method,
                float(value.get("median_seconds", PAPER_MEDIAN_SECONDS)),
                float(value.get("min_seconds", 0.0)),
                threshold,
                {str(name): read(of_class) for name, of_class in classes.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise InputError(
                f"{where}: not a post-processing ({error}); write it again with "
                "`jaxsed tune`"
            ) from error


def choose(
    postprocess: str | Path | Postprocessing | None = None,
    median_seconds: float | None = None,
    min_seconds: float | None = None,
    threshold: float = 0.5,
    own: Postprocessing | None = None,
) -> Postprocessing:
    """Returns the post-processing that the keys of `eval` in a config ask for.

    Args:
        postprocess: one of `METHODS`; or what `jaxsed tune` wrote, a file or a model
            folder with one, which then says all but the threshold. One that is ready to
            use is returned as it is; None is `median`.
        median_seconds: of `Postprocessing`; None for the method's own.
        min_seconds: likewise.
        threshold: of detections.
        own: a model's, which is used where neither `postprocess` nor `median_seconds`
            are given.

    Raises:
        InputError: no such method or file, a number out of range, or `class_medians`
            without the file that has them.
    """
    if isinstance(postprocess, Postprocessing):
        return postprocess
    if postprocess is None and median_seconds is None and own is not None:
        own = dataclasses.replace(own, threshold=threshold)
        shorter = {} if min_seconds is None else {"min_seconds": min_seconds}
        return dataclasses.replace(own, **shorter)
    postprocess = "median" if postprocess is None else postprocess
    if postprocess not in METHODS and Path(postprocess).exists():
        return read(Path(postprocess), threshold)
    check_known("postprocess (a method, or a file)", str(postprocess), METHODS)
    if postprocess == "class_medians":
        raise InputError(
            "postprocess=class_medians: give the file with the tuned widths instead, "
            f"as `jaxsed tune` writes it, for example RUN/model/{FILE_NAME}"
        )
    median, shortest = _DEFAULT_SECONDS.get(postprocess, (PAPER_MEDIAN_SECONDS, 0.0))
    return Postprocessing(
        postprocess,
        median if median_seconds is None else median_seconds,
        shortest if min_seconds is None else min_seconds,
        threshold,
    )


def refuse_unused(
    postprocess: str | None, median_seconds: float | None, min_seconds: float | None
) -> None:
    """Refuses settings that `choose` would pass over, where somebody has typed them.

    Raises:
        InputError: a width beside bounding boxes; or anything beside a file.
    """
    if postprocess in (None, "median", "hear", "class_medians"):
        return
    if median_seconds is not None:
        raise InputError(
            f"--median {median_seconds:g} has no effect with --postprocess {postprocess}: "
            "give one of them"
        )
    if min_seconds is not None and postprocess not in METHODS:
        raise InputError(
            f"--min-seconds {min_seconds:g}: --postprocess {postprocess} says itself how "
            "short an event may be; leave it out, or edit the file"
        )


def read(path: Path, threshold: float = 0.5) -> Postprocessing:
    """Reads a post-processing from a file, or from a folder with a `postprocess.json`.

    Raises:
        InputError: it is not there, or something else.
    """
    file = path / FILE_NAME if path.is_dir() else path
    if not file.exists():
        raise InputError(
            f"there is no {file}: `jaxsed tune` writes one, or give a method"
        )
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    return Postprocessing.from_json(value, str(file), threshold)


def of_model(folder: Path, description: Mapping[str, Any]) -> Postprocessing:
    """Returns the post-processing that a model folder asks for.

    Args:
        folder: its `postprocess.json` comes first, as `jaxsed tune` writes it.
        description: content of its `model.json`; then its `postprocess`, with which the
            model was evaluated in training.

    Raises:
        InputError: one of them cannot be read.
    """
    if (folder / FILE_NAME).exists():
        return read(folder)
    if "postprocess" in description:
        where = f"{folder}/model.json"
        return Postprocessing.from_json(description["postprocess"], where, 0.5)
    return Postprocessing()


def write(path: Path, postprocessing: Postprocessing, tuned: Mapping[str, Any]) -> None:
    """Writes a post-processing, atomically.

    Args:
        path: the file.
        postprocessing: what to write.
        tuned: how it was found; for people to read.
    """
    value = postprocessing.to_json() | {"tuned": dict(tuned)}
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
