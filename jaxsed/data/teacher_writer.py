"""Writing a store of the mean logits of several teachers, shard by shard.

Any number of processes may write shards of one store, on as many hosts as see the disk:
they share nothing but the description, which all of them write alike, and a shard appears
whole. Which process writes which shard is agreed on beforehand, by counting.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxsed.atomic import write_atomically
from jaxsed.data.slice_rows import SliceRows
from jaxsed.data.teacher_shard import TeacherShard
from jaxsed.data.teacher_store import (
    DESCRIPTION,
    IDS,
    IN_PROGRESS,
    SUM_DTYPE,
    TeacherStore,
)
from jaxsed.errors import InputError

# 229 MB a shard at 250 x 447: small enough to share 100,911 clips evenly among hosts,
# large enough that 2 million are a thousand files.
SHARD_CLIPS = 1024


class TeacherLogitsWriter:
    """Makes a store of teacher logits, or goes on with one.

    Args:
        folder: of the store; made if missing.
        ids: of the clips.
        n_frames: label frames of 40 ms of a row.
        vocabulary: `Vocabulary` of the logits.
        teachers: name -> what identifies its parameters (a sha256), in the order in which
            their logits are summed.
        shard_clips: rows a shard.
        data_hash: identifies the clips' audio.
        slices: what rows are slices of; by default every clip is a row.

    Attributes:
        store: what is being written.

    Raises:
        InputError: the folder holds a store of something else (named), the store would
            be empty, or the disk cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        ids: Sequence[str],
        n_frames: int,
        vocabulary,
        teachers: Mapping[str, str],
        *,
        shard_clips: int = SHARD_CLIPS,
        data_hash: str = "",
        slices: SliceRows | None = None,
    ):
        n_rows = len(ids) if slices is None else len(slices)
        shape = (n_rows, n_frames, len(vocabulary))
        if not all(shape) or not teachers or shard_clips < 1:
            raise InputError(
                f"{folder}: logits {list(shape)} of {len(teachers)} teachers in shards "
                f"of {shard_clips} rows: expected at least one of each"
            )
        self.store = TeacherStore(
            folder=Path(folder),
            shape=shape,
            vocabulary=vocabulary.to_json(),
            data_hash=data_hash,
            teachers=tuple(teachers.items()),
            shard_clips=shard_clips,
        )
        if (self.store.folder / DESCRIPTION).exists():
            self._check_same(TeacherStore.read(self.store.folder), ids)
            return
        try:
            self.store.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{folder} cannot be made: {error.strerror}") from error
        write_atomically(self.store.folder / IDS, json.dumps(list(ids)))
        if slices is not None and slices.any_several:
            self.store.write_slices(slices)
        self.store.write()

    def _check_same(self, found: TeacherStore, ids: Sequence[str]) -> None:
        wanted, folder = self.store, self.store.folder
        changed = [name for name, _ in set(found.teachers) ^ set(wanted.teachers)]
        for what, stored, given in (
            ("shape [rows, frames, classes]", list(found.shape), list(wanted.shape)),
            (
                "vocabulary",
                found.vocabulary["hash"][:12],
                wanted.vocabulary["hash"][:12],
            ),
            (
                f"teachers ({', '.join(sorted(set(changed))) or 'their order'})",
                found.teachers,
                wanted.teachers,
            ),
            ("shard_clips", found.shard_clips, wanted.shard_clips),
            ("clip ids", found.ids(), list(ids)),
            ("data", found.data_hash[:12], wanted.data_hash[:12]),
        ):
            if stored != given:
                raise InputError(
                    f"{folder} was begun with other {what}: give another folder, or "
                    "remove it to begin anew"
                )

    def pending(self, index: int = 0, count: int = 1) -> list[int]:
        """Returns the unfinished shards that are process `index` of `count`'s."""
        return [s for s in self.store.unfinished() if s % count == index]

    def open_shard(self, number: int) -> TeacherShard:
        """Opens a shard to be written; nobody else can at the same time.

        Raises:
            InputError: as `TeacherShard`.
        """
        return TeacherShard(self.store, number)

    def bytes_left(self) -> int:
        """Returns how much the unfinished shards will still take on the disk."""
        folder = self.store.folder / IN_PROGRESS
        there = sum(file.stat().st_size for file in folder.glob("*_*"))
        return sum(map(self.store.shard_bytes, self.store.unfinished())) - there

    def sum_bytes(self) -> int:
        """Returns the size of a float32 sum of a shard."""
        return self.store.shard_bytes(0, SUM_DTYPE)

    def close(self) -> None:
        """Removes what only unfinished shards need, once there are none."""
        if not self.store.unfinished():
            shutil.rmtree(self.store.folder / IN_PROGRESS, ignore_errors=True)
            for file in self.store.folder.glob(
                "*.tmp"
            ):  # of processes that were killed
                file.unlink(missing_ok=True)

    def __enter__(self) -> "TeacherLogitsWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()
