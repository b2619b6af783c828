"""Logits of a teacher (or the mean of several) for every training clip, on disk.

Read: `TeacherLogits`, from a store written here (`jaxsed.data.teacher_store` says how it
lies on disk) or from the HDF5 published with PretrainedSED.

A clip that is longer than what teachers hear at once has logits of all of its frames, in
several rows: what is asked for is put together. A store that has those of its beginning
alone is refused, since a training hears clips anywhere.
"""

import collections
import functools
import hashlib
import logging
import threading
from pathlib import Path

import numpy as np

from jaxsed.data.clip_ids import EXACT, RESPELLED, TRUNCATED, ClipIds
from jaxsed.data.problems import DURATION_TOLERANCE_SECONDS
from jaxsed.data.row_shards import RowReader
from jaxsed.data.teacher_hdf5 import Hdf5Logits
from jaxsed.data.teacher_store import MEAN_DTYPE, TeacherStore
from jaxsed.errors import InputError
from jaxsed.labels.events import FRAME_SECONDS

MISS = "miss"
logger = logging.getLogger(__name__)


class TeacherLogits:
    """Random access to stored teacher logits by clip id.

    Files are opened when first read, in each process on its own, so an object can be
    pickled into loader workers. Safe to use from several threads.

    Ids are matched as `jaxsed.data.clip_ids` says: exactly, respelled, or, in an HDF5
    file, cut short by the released code's bug. How often each happened is counted in
    `hits`, per process.

    Args:
        path: folder of a finished store, or an HDF5 file with `filenames` and
            `strong_logits [clips, c, t]` or `clip_logits [clips, c]` (needs h5py).

    Attributes:
        n_clips: clips.
        n_frames: label frames of 40 ms of a row, which is a clip or a slice of a longer
            one; 1 where logits are of whole clips.
        n_classes: classes.
        hits: Counter of "exact", "respelled", "truncated" and "miss".

    Raises:
        InputError: there is no such store, or it is unfinished, damaged, or HDF5
            without h5py installed.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        is_folder = self.path.is_dir()
        self._store = _FolderStore(self.path) if is_folder else Hdf5Logits(self.path)
        self.n_clips, self.n_frames, self.n_classes = self._store.shape
        self._slices = self._store.slices
        if self._slices is not None:
            self.n_clips = len(self._slices.clip_frames)
        self._ids = ClipIds(self._store.ids(), cut_short=not is_folder)
        if len(self._ids) != self.n_clips:
            raise InputError(
                f"{self.path} has {len(self._ids)} ids for the logits of {self.n_clips} "
                "clips: copy it again, or write it anew"
            )
        self._begin()

    @functools.cached_property
    def hash(self) -> str:
        """Says which logits these are, wherever they lie: a sha256, in hex."""
        return self._store.hash()

    def _begin(self) -> None:
        self.hits: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def __getstate__(self):
        return {**self.__dict__, "hits": None, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._begin()

    def __len__(self) -> int:
        return self.n_clips

    def __contains__(self, clip_id: str) -> bool:
        return self._ids.find(clip_id) is not None

    @property
    def misses(self) -> int:
        """How many `get` of this process found nothing."""
        return self.hits[MISS]

    def known_frames(self, clip_id: str) -> int | None:
        """Returns how many label frames of a clip have logits; None if it has none."""
        found = self._ids.find(clip_id)
        return None if found is None else self._known_frames(found[0])

    def get(
        self, clip_id: str, first_frame: int = 0, n_frames: int | None = None
    ) -> np.ndarray | None:
        """Returns logits of a clip, float16 `[t, c]`, not to be changed; None: it has none.

        Logits of whole clips are `[1, c]`, of a longer clip the mean of its slices',
        weighted by frames.

        Args:
            clip_id: of the clip.
            first_frame: label frame of the clip with which they begin.
            n_frames: t; all from there on by default. Behind the end of a clip of several
                rows they are those of the silence that fills its last one up.

        Raises:
            InputError: the file is damaged there, or the store ends before these frames.
        """
        found = self._ids.find(clip_id)
        with self._lock:
            self.hits[found[1] if found else MISS] += 1
        if found is None:
            return None
        if self.n_frames == 1:
            return self._mean(self._rows(found[0]))
        stop = first_frame + n_frames if n_frames else self._known_frames(found[0])
        return self._window(clip_id, self._rows(found[0]), first_frame, stop)

    def row(self, row: int) -> np.ndarray:
        """Returns the logits of a row of the store, float16 `[t, c]`, not to be changed.

        Raises:
            InputError: the file is damaged there.
        """
        return self._store.read(row)

    def _rows(self, clip: int) -> range:
        whole = self._slices is None
        return range(clip, clip + 1) if whole else self._slices.of_clip(clip)

    def _known_frames(self, clip: int) -> int:
        if self._slices is None or self.n_frames == 1:
            return self.n_frames
        return int(self._slices.clip_frames[clip])

    def _mean(self, rows: range) -> np.ndarray:
        if len(rows) == 1:
            return self._store.read(rows[0])
        weights = self._slices.weights(np.array(rows)).astype(np.float32)
        logits = np.stack([self._store.read(row) for row in rows])
        return np.tensordot(weights, logits.astype(np.float32), 1).astype(np.float16)

    def _window(self, clip_id: str, rows: range, start: int, stop: int) -> np.ndarray:
        size = self.n_frames
        if not 0 <= start < stop <= len(rows) * size:
            raise InputError(
                f"{self.path} has logits of {len(rows) * size} label frames of clip "
                f"{clip_id!r}, not of those from {start} to {stop}"
            )
        first = start // size
        read = rows[first : -(-stop // size)]
        logits = [self._store.read(row) for row in read]
        joined = logits[0] if len(logits) == 1 else np.concatenate(logits)
        return joined[start - first * size : stop - first * size]

    def coverage(self, clip_ids) -> dict[str, int]:
        """Returns how many of `clip_ids` are found how; all four keys of `hits`."""
        counts = collections.Counter(
            found[1] if found else MISS for found in self._ids.find_all(clip_ids)
        )
        return {how: counts[how] for how in (EXACT, RESPELLED, TRUNCATED, MISS)}

    def check(self, data, n_frames: int) -> None:
        """Makes sure the logits are of these classes and these clips, and long enough.

        A clip without logits is only logged, with the number of them: its
        `teacher_valid` is False.

        Args:
            data: a `PreparedData`, or what looks like one. The published HDF5 does not
                say in which order its classes are: there, only their number is compared.
            n_frames: label frames of an example.

        Raises:
            InputError: other classes, none of the clips is in the store, or the store has
                fewer frames than an example, or than one of the clips, which is named.
        """
        vocabulary, stored = data.vocabulary, self._store.vocabulary_hash
        clips = getattr(data, "clips", data)
        clip_ids = clips.ids
        if len(vocabulary) != self.n_classes:
            raise InputError(
                f"{self.path} holds logits of {self.n_classes} classes, the data has "
                f"{len(vocabulary)} ({vocabulary.name}): use logits of the same classes"
            )
        if stored is not None and stored != vocabulary.hash:
            raise InputError(
                f"{self.path} holds logits of other classes, or in another order, than "
                f"{vocabulary.name}: use logits of the data's vocabulary"
            )
        counts = self.coverage(clip_ids)
        n_clips = sum(counts.values())
        if counts[MISS] == n_clips:
            raise InputError(
                f"{self.path} has logits of none of the {n_clips} clips; its ids look "
                f"like {self._store.ids()[:1]}, the data's like {list(clip_ids[:1])}"
            )
        found = ", ".join(f"{count} {how}" for how, count in counts.items())
        log = logger.warning if counts[MISS] else logger.info
        log("teacher logits for %d clips: %s", n_clips, found)
        if self.n_frames > 1:
            self._check_examples(n_frames, sliced=len(data) > n_clips)
            self._check_lengths(clips)

    def _check_examples(self, n_frames: int, sliced: bool) -> None:
        """Refuses rows that examples do not fit into; slices always begin at theirs."""
        if n_frames > self.n_frames or (sliced and self.n_frames % n_frames):
            raise InputError(
                f"{self.path} has logits of {self.n_frames * FRAME_SECONDS:g} s in a row, "
                f"examples last {n_frames * FRAME_SECONDS:g} s: set data.clip_seconds to "
                "that of the ensemble"
            )

    def _check_lengths(self, clips) -> None:
        """Refuses clips whose beginning alone has logits."""
        seconds = np.asarray(clips.durations)
        slack = DURATION_TOLERANCE_SECONDS + 1e-6
        for row in np.flatnonzero(seconds > self.n_frames * FRAME_SECONDS + slack):
            known = self.known_frames(str(clips.ids[row]))
            if known is not None and seconds[row] > known * FRAME_SECONDS + slack:
                raise InputError(
                    f"{self.path} has logits of the first {known * FRAME_SECONDS:g} s of "
                    f"clip {str(clips.ids[row])!r}, which lasts {seconds[row]:g} s: "
                    "remove the folder and run the ensemble stage again, which hears "
                    "recordings to their end; of an HDF5 file, leave long clips out"
                )


class _FolderStore:
    """A finished folder of `TeacherLogitsWriter`."""

    def __init__(self, folder: Path):
        self._store = store = TeacherStore.read(folder)
        self._rows = RowReader(store)
        self.shape = store.shape
        self.vocabulary_hash = store.vocabulary["hash"]
        self.slices = store.slices()

    def ids(self) -> list[str]:
        return self._store.ids()

    def hash(self) -> str:
        store = self._store
        of = store.shape, self.vocabulary_hash, store.data_hash, store.teachers
        return hashlib.sha256(repr(of).encode()).hexdigest()

    def read(self, row: int) -> np.ndarray:
        logits = np.frombuffer(self._rows.read(row), MEAN_DTYPE)
        return logits.reshape(self._store.clip_shape)
