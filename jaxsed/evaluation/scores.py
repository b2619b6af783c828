"""A model's frame scores for a whole evaluation set, on disk.

Two forms, with the same reading side (`ids`, `vocabulary`, `durations`, `timestamps`,
`blocks`), so that an evaluator need not know which one it was given:

* `ScoreStore`: what jaxsed writes. A folder of `scores.json`, `logits.npy` (float16
  logits `[clips, t, c]`, memory-mapped) and `written.npy` (which rows are there).
* `jaxsed.evaluation.score_tables.ScoreTables`: a folder of one TSV a clip, the format
  of sed_scores_eval, which other toolkits write too.
"""

import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxsed.errors import InputError
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary

_FORMAT = "jaxsed-scores-1"
_BLOCK_BYTES = 64 << 20  # what `blocks` holds of the logits at once


class ScoreStore:
    """Memory-mapped float16 logits of many clips.

    Opened with `ScoreStore(path)` it is read-only; `ScoreStore.create` makes one that
    can be written, or goes on with one that a killed run left behind. AudioSet Strong's
    evaluation set (16,996 clips, 447 classes) takes 3.8 GB.

    Attributes:
        path: the folder.
        ids: clip ids in row order.
        vocabulary: what the last axis of the logits means.
        durations: clip lengths in seconds, float64 `[clips]`, or None if not known.
        frame_seconds: distance of two frames.
        provenance: free-form facts, such as hashes of the model and of the data.
        logits: float16 `[clips, t, c]`, read-only; rows not written yet are zero.
        written: bool `[clips]`, the rows that are there.
    """

    def __init__(self, path: str | os.PathLike):
        """Opens a store for reading.

        Args:
            path: the folder.

        Raises:
            InputError: there is no store, or its files contradict each other.
        """
        self.path = Path(path)
        self._read_description()
        self._map("r")

    @classmethod
    def create(
        cls,
        path: str | os.PathLike,
        ids: Sequence[str],
        vocabulary: Vocabulary,
        *,
        durations: Sequence[float] | None = None,
        n_frames: int = CLIP_FRAMES,
        frame_seconds: float = FRAME_SECONDS,
        provenance: dict | None = None,
    ) -> "ScoreStore":
        """Makes a store to write to, or goes on with the one that is already there.

        Args:
            path: the folder; made if absent.
            ids: clip ids, unique, in row order.
            vocabulary: the classes of the last axis.
            durations: clip lengths in seconds.
            n_frames: frames a clip.
            frame_seconds: distance of two frames in seconds.
            provenance: JSON-able facts that identify the scores, such as the hashes of
                the model and of the data. A store with another provenance is not
                continued.

        Raises:
            InputError: the folder holds a store of something else; ids repeat.
        """
        path = Path(path)
        description = _describe(
            ids, vocabulary, durations, n_frames, frame_seconds, provenance
        )
        if (path / "scores.json").exists():
            _check_same(path, _load_description(path), description)
        else:
            path.mkdir(parents=True, exist_ok=True)
            shape = (len(ids), n_frames, len(vocabulary))
            _allocate(path / "logits.npy", np.float16, shape)
            _allocate(path / "written.npy", np.uint8, shape[:1])
            # Written last: a folder without it holds nothing worth keeping.
            _write_json(path / "scores.json", description)
        store = cls.__new__(cls)
        store.path = path
        store._read_description()
        store._map("r+")
        return store

    def _read_description(self) -> None:
        description = _load_description(self.path)
        try:
            self.ids = [str(clip_id) for clip_id in description["ids"]]
            self.vocabulary = Vocabulary.from_json(description["vocabulary"])
            self.frame_seconds = float(description["frame_seconds"])
            self.provenance = dict(description["provenance"])
            durations = description["durations"]
            self.durations = None if durations is None else np.array(durations, float)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{self.path / 'scores.json'}: not a score store ({error}); write the "
                "scores again"
            ) from error
        self._row_of = {clip_id: row for row, clip_id in enumerate(self.ids)}

    def _map(self, mode: str) -> None:
        try:
            self._logits = np.load(self.path / "logits.npy", mmap_mode=mode)
            self._written = np.load(self.path / "written.npy", mmap_mode=mode)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: logits.npy or written.npy is missing or damaged "
                f"({error}); write the scores again"
            ) from error
        expected = (len(self.ids), len(self.vocabulary))
        found = self._logits.shape[:1] + self._logits.shape[2:]
        if (
            self._logits.ndim != 3
            or found != expected
            or self._logits.dtype != np.float16
            or self._written.shape != expected[:1]
        ):
            raise InputError(
                f"{self.path}: scores.json describes {expected[0]} clips and "
                f"{expected[1]} classes, logits.npy is {self._logits.dtype} "
                f"{list(self._logits.shape)}; write the scores again"
            )

    @property
    def logits(self) -> np.ndarray:
        """float16 `[clips, t, c]`, read-only view of the memory map."""
        view = self._logits.view()
        view.flags.writeable = False
        return view

    @property
    def written(self) -> np.ndarray:
        """bool `[clips]`: rows that hold scores."""
        return np.asarray(self._written) != 0

    @property
    def n_frames(self) -> int:
        """Frames a clip."""
        return self._logits.shape[1]

    def missing_rows(self) -> np.ndarray:
        """Returns the rows (int64) that are still to be written, ascending."""
        return np.flatnonzero(~self.written)

    def row(self, clip_id: str) -> int | None:
        """Returns the row of a clip, or None if the store has no scores for it."""
        row = self._row_of.get(clip_id)
        return row if row is not None and self._written[row] else None

    def write(self, rows: Sequence[int], logits: np.ndarray) -> None:
        """Writes some rows; they are on disk when this returns.

        Args:
            rows: row numbers, in any order.
            logits: `[len(rows), t, c]`, any float type, finite.

        Raises:
            InputError: wrong shape, row out of range, or a value that is not finite in
                float16; the message names the clip and nothing is written.
        """
        rows = np.asarray(rows, np.int64)
        logits = np.asarray(logits)
        expected = (len(rows), *self._logits.shape[1:])
        if logits.shape != expected:
            raise InputError(
                f"{self.path}: logits have shape {list(logits.shape)}, expected "
                f"{list(expected)} (clips, frames, classes)"
            )
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.ids):
            raise InputError(
                f"{self.path}: row {rows.min()} or {rows.max()} is outside 0 to "
                f"{len(self.ids) - 1}"
            )
        with np.errstate(over="ignore"):  # overflow becomes inf and is refused below
            half = logits.astype(np.float16)
        broken = np.flatnonzero(~np.isfinite(half).all(axis=(1, 2)))
        if broken.size:
            raise InputError(
                f"{self.path}: the scores of clip {self.ids[rows[broken[0]]]!r} are not "
                f"finite numbers below 65504 ({broken.size} such clips in this batch); "
                "the model or its input is broken"
            )
        self._logits[rows] = half
        # First the scores, then the mark: a kill in between costs only these rows.
        self._logits.flush()
        self._written[rows] = 1
        self._written.flush()

    def timestamps(self, row: int) -> np.ndarray:
        """Returns the borders of a clip's frames in seconds, `[t + 1]`."""
        del row  # all clips of a store have the same frames
        return np.round(np.arange(self.n_frames + 1) * self.frame_seconds, 6)

    def blocks(
        self, rows: Sequence[int], columns: Sequence[int]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Reads some classes of some clips, block by block, in bounded memory.

        Args:
            rows: clips.
            columns: classes.

        Yields:
            `(positions, logits)`: positions in `rows`, and their logits as float32
            `[block, t, len(columns)]`.
        """
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        bytes_a_clip = 4 * self.n_frames * max(len(columns), 1)
        size = max(1, _BLOCK_BYTES // bytes_a_clip)
        low, high = (columns.min(), columns.max() + 1) if columns.size else (0, 0)
        for start in range(0, len(rows), size):
            positions = np.arange(start, min(start + size, len(rows)))
            block = self._logits[rows[positions], :, low:high]
            yield positions, block[:, :, columns - low].astype(np.float32)


def _describe(ids, vocabulary, durations, n_frames, frame_seconds, provenance) -> dict:
    ids = [str(clip_id) for clip_id in ids]
    if not ids or n_frames < 1:
        raise InputError(
            f"a score store needs at least one clip and one frame, got {len(ids)} clips "
            f"of {n_frames} frames"
        )
    if len(set(ids)) != len(ids):
        twice = next(clip_id for clip_id in ids if ids.count(clip_id) > 1)
        raise InputError(f"clip id {twice!r} occurs twice; ids must be unique")
    if not (math.isfinite(frame_seconds) and frame_seconds > 0):
        raise InputError(
            f"frame_seconds is {frame_seconds}, expected a positive number"
        )
    if durations is not None:
        durations = [float(seconds) for seconds in durations]
        if len(durations) != len(ids):
            raise InputError(f"{len(durations)} durations for {len(ids)} clips")
    return {
        "format": _FORMAT,
        "ids": ids,
        "vocabulary": vocabulary.to_json(),
        "durations": durations,
        "n_frames": int(n_frames),
        "frame_seconds": float(frame_seconds),
        "provenance": json.loads(json.dumps(provenance or {})),
    }


def _allocate(path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    """Makes an array of zeros and takes its room on the disk.

    Without that a disk that fills up later would kill the process (SIGBUS), because
    writing to a memory map cannot fail in any other way.
    """
    try:
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
        if hasattr(os, "posix_fallocate"):
            with open(path, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        size = np.prod(shape, dtype=float) * np.dtype(dtype).itemsize / 1e9
        raise InputError(
            f"{path}: cannot make a file of {size:.2f} GB ({error}); choose a folder "
            "with more room"
        ) from error


def _load_description(path: Path) -> dict:
    file = path / "scores.json"
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no scores.json in it; expected a folder of scores written by "
            "jaxsed, or a folder of sed_scores_eval TSVs"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise InputError(f'{file}: expected "format": "{_FORMAT}"; write it again')
    return description


def _check_same(path: Path, found: dict, wanted: dict) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(
                f"{path}: holds scores of something else ({key} differs); give another "
                "folder, or delete this one to start afresh"
            )


def _write_json(path: Path, value: dict) -> None:
    beside = path.with_name(path.name + ".partial")
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
