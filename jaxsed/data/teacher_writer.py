"""Writing the mean logits of several teachers, so that a killed run can go on.

The mean is summed in float32, one teacher after the other. A teacher's pass reads the
sum of those before it from `sum_<k-1>.f32`, which it never changes, and writes
`sum_<k>.f32`; so a row may be written any number of times and the result is the same to
the bit, wherever a run was killed. Twice the float32 sum is on disk at most, however
many teachers: for 100,911 clips x 250 x 447 that is 90 GB, then 22.5 GB for the result,
where a float16 store per teacher would take 338 GB for 15.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxsed.data.records import write_atomically
from jaxsed.data.teacher_store import (
    DESCRIPTION,
    FORMAT,
    IDS,
    LOGITS,
    lock,
    read_description,
    reserve,
)
from jaxsed.errors import InputError

_FLUSH_BYTES = 1 << 29  # what a kill may cost, in computed logits
_FLOAT16_MAX = float(np.finfo(np.float16).max)


class TeacherLogitsWriter:
    """Writes the mean logits of teachers, clip by clip, in any order of clips.

    For each teacher, compute the logits of `pending(name)` and `add` them; then
    `finish()`. Opening the folder again goes on where it was. Logits added since the
    last flush may have to be added again after a kill: `pending` knows.

    Args:
        folder: of the store; made if missing.
        ids: of the clips, in row order.
        n_frames: label frames of 40 ms.
        vocabulary: `Vocabulary` of the logits.

    Attributes:
        teachers: names of the teachers that are complete, in order.
        finished: whether the mean is written.

    Raises:
        InputError: the folder holds a store of other clips, frames or classes, is
            being written by another process, or the disk is too small.
    """

    def __init__(
        self, folder: str | Path, ids: Sequence[str], n_frames: int, vocabulary
    ):
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock_file = lock(self._folder)
        self._ids = [str(clip_id) for clip_id in ids]
        self._shape = (len(self._ids), n_frames, len(vocabulary))
        self._vocabulary = vocabulary
        if not all(self._shape):
            raise InputError(
                f"{folder}: a store of {self._shape} logits would be empty"
            )
        if (self._folder / DESCRIPTION).exists():
            self._go_on()
        else:
            write_atomically(self._folder / IDS, json.dumps(self._ids).encode())
            self._description = {
                "format": FORMAT,
                "shape": list(self._shape),
                "vocabulary": vocabulary.to_json(),
                "teachers": [],
                "current": None,
                "finished": False,
            }
            self._describe()
        self._open_pass()

    def _go_on(self) -> None:
        found = read_description(self._folder)
        stored_ids = json.loads((self._folder / IDS).read_text(encoding="utf-8"))
        for what, stored, given in (
            ("shape [clips, frames, classes]", found["shape"], list(self._shape)),
            ("vocabulary", found["vocabulary"]["hash"], self._vocabulary.hash),
            ("clip ids", stored_ids, self._ids),
        ):
            if stored != given:
                shown = f" ({stored}, now {given})" if what != "clip ids" else ""
                raise InputError(
                    f"{self._folder} was begun with another {what}{shown}: give another "
                    "folder, or remove it"
                )
        self._description = found

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the complete teachers."""
        return tuple(self._description["teachers"])

    @property
    def finished(self) -> bool:
        """Whether the mean is written; then nothing can be added."""
        return self._description["finished"]

    def pending(self, teacher: str) -> np.ndarray:
        """Returns the rows (int64) whose logits of this teacher are still needed."""
        if self.finished or teacher in self.teachers:
            return np.empty(0, np.int64)
        if self._description["current"] in (teacher, None):
            return np.flatnonzero(~self._done)
        return np.arange(self._shape[0])

    def add(self, teacher: str, rows: np.ndarray, logits: np.ndarray) -> None:
        """Adds one teacher's logits of some clips; complete ones are ignored.

        A teacher is complete when every row was added; it is written to disk then, and
        now and then before.

        Args:
            teacher: its name. One teacher has to be complete before the next begins.
            rows: int `[k]`, different ones.
            logits: float `[k, t, c]`.

        Raises:
            InputError: another teacher is incomplete, or a logit is NaN or infinite.
        """
        if self.finished or teacher in self.teachers:
            return
        rows = np.asarray(rows, np.int64)
        logits = np.asarray(logits, np.float32)
        self._check(teacher, rows, logits)
        if self._description["current"] is None:
            self._description["current"] = teacher
            self._describe()
        if self._sum is None:
            self._sum = self._map(f"sum_{len(self.teachers)}.f32", "<f4", "w+")
        if self._before is not None:
            logits = self._before[rows] + logits
        self._sum[rows] = logits
        self._done[rows] = True
        self._unflushed_bytes += logits.nbytes
        if self._done.all():
            self._complete(teacher)
        elif self._unflushed_bytes >= _FLUSH_BYTES:
            self.flush()

    def _check(self, teacher: str, rows: np.ndarray, logits: np.ndarray) -> None:
        current = self._description["current"]
        if current not in (teacher, None):
            raise InputError(
                f"{self._folder}: teacher {current!r} is incomplete "
                f"({np.count_nonzero(~self._done)} clips left); finish it before "
                f"{teacher!r}"
            )
        if logits.shape != (len(rows), *self._shape[1:]):
            raise InputError(
                f"logits of {len(rows)} clips must be {(len(rows), *self._shape[1:])}, "
                f"got {logits.shape}"
            )
        if len(rows) and not 0 <= rows.min() <= rows.max() < self._shape[0]:
            raise InputError(f"rows must be 0 to {self._shape[0] - 1}")
        finite = np.isfinite(logits).all(axis=(1, 2))
        if not finite.all():
            row = rows[np.flatnonzero(~finite)[0]]
            raise InputError(
                f"teacher {teacher!r} gives NaN or infinite logits for clip "
                f"{self._ids[row]!r}: its weights are broken"
            )

    def flush(self) -> None:
        """Puts everything added so far on disk."""
        if self._unflushed_bytes:
            self._sum.flush()
            # Only now may the rows count as done.
            bits = np.packbits(self._done).tobytes()
            write_atomically(self._folder / self._done_name, bits)
            self._unflushed_bytes = 0

    def _complete(self, teacher: str) -> None:
        self.flush()
        self._description["teachers"].append(teacher)
        self._description["current"] = None
        self._describe()
        self._open_pass()

    def _open_pass(self) -> None:
        """Gets ready for the next teacher, number k; removes what only k-2 needed."""
        k = len(self.teachers)
        self._done_name = f"done_{k}.bits"
        keep = {f"sum_{k - 1}.f32", f"sum_{k}.f32", self._done_name}
        for file in (*self._folder.glob("sum_*.f32"), *self._folder.glob("done_*")):
            if self.finished or file.name not in keep:
                file.unlink()
        self._before = self._sum = None
        self._unflushed_bytes = 0
        self._done = np.zeros(self._shape[0], bool)
        if self.finished:
            return
        if k:
            self._before = self._map(f"sum_{k - 1}.f32", "<f4", "r")
        if (self._folder / self._done_name).exists():
            bits = np.fromfile(self._folder / self._done_name, np.uint8)
            self._done = np.unpackbits(bits, count=self._shape[0]).astype(bool)
            self._sum = self._map(f"sum_{k}.f32", "<f4", "r+")
            if self._done.all():  # killed just before the teacher was noted down
                self._complete(self._description["current"])

    def finish(self) -> None:
        """Writes the mean of the complete teachers and removes the sums.

        Raises:
            InputError: no teacher is complete, or one is incomplete.
        """
        if self.finished:
            return
        current, n_teachers = self._description["current"], len(self.teachers)
        if current is not None or not n_teachers:
            raise InputError(
                f"{self._folder}: cannot be finished, "
                + (
                    f"teacher {current!r} is incomplete"
                    if current
                    else "no teacher yet"
                )
            )
        part = LOGITS + ".part"
        mean = self._map(part, "<f2", "w+")
        step = max(1, _FLUSH_BYTES // (4 * math.prod(self._shape[1:])))
        for start in range(0, self._shape[0], step):
            rows = self._before[start : start + step] / np.float32(n_teachers)
            mean[start : start + step] = np.clip(rows, -_FLOAT16_MAX, _FLOAT16_MAX)
        mean.flush()
        os.replace(self._folder / part, self._folder / LOGITS)
        self._description["finished"] = True
        self._describe()
        self._open_pass()

    def close(self) -> None:
        """Flushes, and lets other processes write."""
        if not self._lock_file.closed:
            self.flush()
            self._lock_file.close()

    def __enter__(self) -> "TeacherLogitsWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _map(self, name: str, dtype: str, mode: str) -> np.memmap:
        file = self._folder / name
        if mode == "w+":
            reserve(file, np.dtype(dtype).itemsize * math.prod(self._shape))
        elif not file.exists():
            raise InputError(f"{file} is missing: remove {self._folder} and begin anew")
        mode = "r" if mode == "r" else "r+"
        return np.memmap(file, dtype, mode, shape=self._shape)

    def _describe(self) -> None:
        text = json.dumps(self._description, indent=1)
        write_atomically(self._folder / DESCRIPTION, text.encode())
