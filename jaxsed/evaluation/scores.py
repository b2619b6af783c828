"""A model's frame scores for a whole evaluation set, on disk.

Two forms, with the same reading side (`ids`, `vocabulary`, `durations`, `timestamps`,
`blocks`), so that an evaluator need not know which one it was given:

* `ScoreStore`: what jaxsed writes. A folder of `scores.json`, `logits.npy` (float16
  logits `[clips, t, c]`, memory-mapped) and `written.npy` (which rows are there).
* `jaxsed.evaluation.score_tables.ScoreTables`: a folder of one TSV a clip, the format
  of sed_scores_eval, which other toolkits write too.
"""

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxsed.errors import InputError
from jaxsed.evaluation import score_files
from jaxsed.labels.events import CLIP_FRAMES, FRAME_SECONDS
from jaxsed.labels.vocab import Vocabulary

_BLOCK_BYTES = 128 << 20  # of the file, which `blocks` maps at once
_BLOCK_FRAMES = 1 << 17  # and of one class: enough for numpy's calls to cost little


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
        dtype: of the scores, float16.
        logits: float16 `[clips, t, c]`, read-only; rows not written yet are zero.
        written: bool `[clips]`, the rows that are there.
    """

    dtype = np.dtype(np.float16)

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
        description = score_files.describe(
            ids, vocabulary, durations, n_frames, frame_seconds, provenance
        )
        if (path / "scores.json").exists():
            score_files.check_same(
                path, score_files.load_description(path), description
            )
        else:
            path.mkdir(parents=True, exist_ok=True)
            shape = (len(ids), n_frames, len(vocabulary))
            score_files.allocate(path / "logits.npy", np.float16, shape)
            score_files.allocate(path / "written.npy", np.uint8, shape[:1])
            # Written last: a folder without it holds nothing worth keeping.
            score_files.write_json(path / "scores.json", description)
        store = cls.__new__(cls)
        store.path = path
        store._read_description()
        store._map("r+")
        return store

    def _read_description(self) -> None:
        description = score_files.load_description(self.path)
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
        return self._timestamps

    @functools.cached_property
    def _timestamps(self) -> np.ndarray:
        seconds = np.round(np.arange(self.n_frames + 1) * self.frame_seconds, 6)
        seconds.flags.writeable = False
        return seconds

    def blocks(
        self, rows: Sequence[int], columns: Sequence[int]
    ) -> Iterator[tuple[range, list[np.ndarray]]]:
        """Reads some classes of some clips, block by block, in bounded memory.

        Args:
            rows: clips.
            columns: classes.

        Yields:
            `(clips, logits)`: places in `rows`, and one float16 `[clips, t]` for each
            of `columns`.
        """
        low, high = min(columns), max(columns) + 1
        bytes_a_clip = self._logits[0].nbytes
        size = min(_BLOCK_BYTES // bytes_a_clip, _BLOCK_FRAMES // self.n_frames)
        size = max(1, size)
        for start in range(0, len(rows), size):
            clips = range(start, min(start + size, len(rows)))
            # A map for the block alone: of a map that is kept, all that was ever read
            # would count as memory of this process.
            logits = np.asarray(np.load(self.path / "logits.npy", mmap_mode="r"))
            block = np.empty((high - low, len(clips), self.n_frames), np.float16)
            for place, clip in enumerate(clips):
                # Gathered first: turning what is close together is twice as fast.
                block[:, place] = logits[rows[clip], :, low:high].copy().T
            del logits
            yield clips, [block[column - low] for column in columns]
