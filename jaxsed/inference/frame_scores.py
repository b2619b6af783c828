"""Writing frame scores of any length while they are computed.

Each writer is a context that gives `(add, finish)`: `add(scores [k, c])` for each piece,
then `finish(duration_seconds)`, at which the last frame ends. The file takes its place
when the context is left without an error.
"""

import collections
import contextlib
import csv
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxsed.inference.outputs import open_text, replacing, writing
from jaxsed.labels.clip_names import clip_path

Writer = tuple[Callable[[np.ndarray], None], Callable[[float], None]]


@contextlib.contextmanager
def table(path: Path, labels: Sequence[str], frame_seconds: float) -> Iterator[Writer]:
    """Writes a TSV in the format of sed_scores_eval: `onset offset CLASS ...`.

    Args:
      path: The file.
      labels: Class names.
      frame_seconds: Length of a frame.
    """
    row = "%.6f\t%.6f" + "\t%.5g" * len(labels) + "\n"
    n_frames, last = 0, None

    def write(file, scores: np.ndarray, end: float | None = None) -> None:
        nonlocal n_frames
        for values in scores.tolist():
            onset = n_frames * frame_seconds
            n_frames += 1
            offset = n_frames * frame_seconds if end is None else end
            file.write(row % (onset, offset, *values))

    with replacing(path) as partial, open_text(partial) as file:
        header = ("onset", "offset", *labels)
        csv.writer(file, delimiter="\t", lineterminator="\n").writerow(header)

        def add(scores: np.ndarray) -> None:
            # One frame is held back: the last one's end is not known before the end.
            nonlocal last
            if last is not None:
                scores = np.concatenate([last, scores])
            write(file, scores[:-1])
            last = scores[-1:]

        yield add, lambda duration_seconds: write(file, last, duration_seconds)


@contextlib.contextmanager
def archive(
    path: Path, labels: Sequence[str], frame_seconds: float
) -> Iterator[Writer]:
    """Writes a compressed npz.

    Arrays: `scores` float16 `[t, c]`, `labels` text `[c]`, `frame_borders` float64
    `[t + 1]` in seconds.

    Args:
      path: The file.
      labels: Class names.
      frame_seconds: Length of a frame.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # An npz names its array's length first; until it is known, frames wait on disk.
    with tempfile.TemporaryFile(dir=path.parent) as file:

        def add(scores: np.ndarray) -> None:
            file.write(scores.astype(np.float16).tobytes())

        def finish(duration_seconds: float) -> None:
            file.flush()
            flat = np.memmap(file, np.float16, mode="r")
            scores = flat.reshape(-1, len(labels))
            borders = np.arange(len(scores) + 1) * frame_seconds
            borders[-1] = duration_seconds
            names = np.array(labels, dtype=np.str_)
            arrays = {"scores": scores, "labels": names, "frame_borders": borders}
            with replacing(path) as partial:
                _save(partial, arrays)

        yield add, finish


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """`np.savez_compressed` to a path that does not end in .npz."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


FORMATS = {"tsv": table, "npz": archive}


@contextlib.contextmanager
def open_writer(
    name: str | None, path: Path, labels: Sequence[str], frame_seconds: float
) -> Iterator[Writer]:
    """Opens a file of frame scores, or what takes its place if none is wanted.

    Args:
      name: A key of `FORMATS`; None for no file.
      path: The file.
      labels: Class names.
      frame_seconds: Length of a frame.

    Raises:
      InputError: It cannot be written.
    """
    if name is None:
        yield (lambda scores: None), (lambda duration_seconds: None)
        return
    with writing(path.parent), FORMATS[name](path, labels, frame_seconds) as writer:
        yield writer


def names(filenames: Iterable[str]) -> dict[str, str]:
    """Returns how the scores of each sound file are called, without an ending.

    That is the path of its clip, by which the evaluation calls it. Where two files would
    share one (a.wav, a.mp3; on some disks A.wav, too), the whole name is taken.
    """
    found = {filename: clip_path(filename) for filename in filenames}
    while True:  # a whole name may be what a third one is called without its ending
        count = collections.Counter(map(str.casefold, found.values()))
        shared = [
            filename
            for filename, name in found.items()
            if count[name.casefold()] > 1 and name != filename
        ]
        if not shared:
            return found
        found.update(zip(shared, shared))
