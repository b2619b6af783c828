"""A model's frame scores for a whole evaluation set, on disk.

Two forms, with the same reading side (`ids`, `vocabulary`, `durations`, `timestamps`,
`blocks`), so that an evaluator need not know which one it was given:

* `ScoreStore`: what jaxsed writes. A folder of `scores.json`, `logits.npy` (float16
  logits, memory-mapped: `[clips, t, c]`, or `[frames, c]`, clip after clip, where clips
  differ in length) and `written.npy` (which rows are there).
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
        n_frames: int64 `[clips]`, frames of each clip.
        dtype: of the scores, float16.
        logits: float16, read-only; rows not written yet are zero. An array
            `[clips, t, c]`, or where clips differ in length a list of `[t, c]`.
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
        n_frames: int | Sequence[int] = CLIP_FRAMES,
        frame_seconds: float = FRAME_SECONDS,
        provenance: dict | None = None,
    ) -> "ScoreStore":
        """Makes a store to write to, or goes on with the one that is already there.

        Args:
            path: the folder; made if absent.
            ids: clip ids, unique, in row order.
            vocabulary: the classes of the last axis.
            durations: clip lengths in seconds.
            n_frames: frames a clip, or of each clip.
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
            shape = score_files.shape_of(description)
            score_files.allocate(path / "logits.npy", np.float16, shape)
            score_files.allocate(path / "written.npy", np.uint8, (len(ids),))
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
            self._shape = score_files.shape_of(description)
            n_frames = np.asarray(description["n_frames"], np.int64)
            self.n_frames = np.broadcast_to(n_frames, len(self.ids))
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
        self._first_frame = np.append(0, np.cumsum(self.n_frames))
        self._borders: dict[int, np.ndarray] = {}

    def _map(self, mode: str) -> None:
        try:
            logits = np.load(self.path / "logits.npy", mmap_mode=mode)
            self._written = np.load(self.path / "written.npy", mmap_mode=mode)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path}: logits.npy or written.npy is missing or damaged "
                f"({error}); write the scores again"
            ) from error
        if (
            logits.shape != self._shape
            or logits.dtype != np.float16
            or self._written.shape != (len(self.ids),)
        ):
            raise InputError(
                f"{self.path}: scores.json describes {len(self.ids)} clips and "
                f"{len(self.vocabulary)} classes, logits.npy is {logits.dtype} "
                f"{list(logits.shape)}; write the scores again"
            )
        # Of all clips, one after the other: [frames, c].
        self._logits = logits.reshape(-1, len(self.vocabulary))

    @functools.cached_property
    def logits(self) -> np.ndarray | list[np.ndarray]:
        """float16 `[clips, t, c]`, or a `[t, c]` for each clip; views of the map."""
        view = self._logits.view()
        view.flags.writeable = False
        if len(self._shape) == 3:
            return view.reshape(self._shape)
        return np.split(view, self._first_frame[1:-1])

    @property
    def written(self) -> np.ndarray:
        """bool `[clips]`: rows that hold scores."""
        return np.asarray(self._written) != 0

    def missing_rows(self) -> np.ndarray:
        """Returns the rows (int64) that are still to be written, ascending."""
        return np.flatnonzero(~self.written)

    def row(self, clip_id: str) -> int | None:
        """Returns the row of a clip, or None if the store has no scores for it."""
        row = self._row_of.get(clip_id)
        return row if row is not None and self._written[row] else None

    def forget(self) -> None:
        """Makes no row count as written.

        Those who write all rows anew do this first: else what they have not reached, when
        they are stopped, would pass as theirs.
        """
        self._written[:] = 0
        self._written.flush()

    def write(
        self,
        rows: Sequence[int],
        logits: np.ndarray,
        first_frames: Sequence[int] | None = None,
    ) -> None:
        """Writes some clips, or parts of them; they are on disk when this returns.

        Args:
            rows: row numbers, in any order.
            logits: `[len(rows), t, c]`, any float type, finite.
            first_frames: for parts of clips, the frame of the clip with which each
                begins. What lies behind the clip's end is dropped, and the clip counts as
                written with its last frame: write that part last.

        Raises:
            InputError: wrong shape, row out of range, or a value that is not finite in
                float16; the message names the clip and nothing is written.
        """
        rows, logits = np.asarray(rows, np.int64), np.asarray(logits)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self.ids):
            raise InputError(
                f"{self.path}: row {rows.min()} or {rows.max()} is outside 0 to "
                f"{len(self.ids) - 1}"
            )
        first = (
            np.zeros_like(rows) if first_frames is None else np.asarray(first_frames)
        )
        half = self._checked(rows, logits, whole=first_frames is None)
        counts = np.minimum(half.shape[1], self.n_frames[rows] - first)
        if rows.size and (first.min() < 0 or counts.min() < 1):
            raise InputError(f"{self.path}: parts begin outside their clips")
        for clip, start, count in zip(half, self._first_frame[rows] + first, counts):
            self._logits[start : start + count] = clip[:count]
        # First the scores, then the mark: a kill in between costs only these rows.
        self._logits.flush()
        self._written[rows[first + counts == self.n_frames[rows]]] = 1
        self._written.flush()

    def _checked(self, rows: np.ndarray, logits: np.ndarray, whole: bool) -> np.ndarray:
        """Returns them in float16."""
        whole = whole and len(rows) > 0
        n_frames = self.n_frames[rows] if whole else np.array(logits.shape[1:2])
        expected = (len(rows), int(n_frames.max(initial=1)), len(self.vocabulary))
        if logits.shape != expected or (n_frames != n_frames[:1]).any():
            raise InputError(
                f"{self.path}: logits have shape {list(logits.shape)}, expected "
                f"{list(expected)} (clips, frames, classes)"
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
        return half

    def timestamps(self, row: int) -> np.ndarray:
        """Returns the borders of a clip's frames in seconds, `[t + 1]`.

        It is the same array for clips of the same length.
        """
        n_frames = int(self.n_frames[row])
        return self._borders.setdefault(n_frames, self._longest_borders[: n_frames + 1])

    @functools.cached_property
    def _longest_borders(self) -> np.ndarray:
        seconds = np.round(np.arange(self.n_frames.max() + 1) * self.frame_seconds, 6)
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
            `(clips, logits)`: places in `rows`, and for each of `columns` float16
            `[frames]`, those of the clips one after the other.
        """
        low, high = min(columns), max(columns) + 1
        n_frames = self.n_frames[np.asarray(rows, np.int64)]
        most = min(_BLOCK_BYTES // self._logits[0].nbytes, _BLOCK_FRAMES)
        for clips in _runs(n_frames, most):
            # A map for the block alone: of a map that is kept, all that was ever read
            # would count as memory of this process. Not by `np.load`, which parses the
            # header: Python 3.11's parser fails now and then in several threads at once.
            where = self._logits.filename, self.dtype, "r", self._logits.offset
            logits = np.asarray(np.memmap(*where, self._logits.shape))
            ends = np.cumsum(n_frames[clips.start : clips.stop])
            block = np.empty((high - low, ends[-1]), np.float16)
            for clip, end in zip(clips, ends):
                first, stop = self._first_frame[rows[clip] : rows[clip] + 2]
                # Gathered first: turning what is close together is twice as fast.
                frames = logits[first:stop, low:high].copy()
                block[:, end - len(frames) : end] = frames.T
            del logits
            yield clips, [block[column - low] for column in columns]


def _runs(n_frames: np.ndarray, most: int) -> Iterator[range]:
    """Divides clips into runs of at most so many frames, or of one clip."""
    ends, start = np.cumsum(n_frames), 0
    while start < len(n_frames):
        limit = ends[start] - n_frames[start] + most
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        yield range(start, stop)
        start = stop
