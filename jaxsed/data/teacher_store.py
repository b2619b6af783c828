"""How a store of teacher logits lies on disk; shared by its reader and its writer.

    teacher_logits.json   shape [clips, t, c], vocabulary, hash of the data, clips a shard,
                          teachers (name and sha256 of the parameters) in order of summation
    ids.json              clip ids in row order
    logits-00003.f16      shard 3: float16 [k, t, c], C order, little-endian
    logits-00003.json     its teachers, and the CRC-32 of every clip
    in_progress/          shards that are being written, see `teacher_shard`

Shard s holds the rows from `s * shard_clips` on. It is finished once both of its files are
there, which appear whole or not at all; the store is finished once all shards are. So
processes that know nothing of each other can write shards of the same store.

Logits of whole clips are a store of one frame, t = 1, which lasts as long as the clip.
"""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.errors import InputError

DESCRIPTION, IDS, IN_PROGRESS = "teacher_logits.json", "ids.json", "in_progress"
FORMAT = 2
MEAN_DTYPE, SUM_DTYPE = np.dtype("<f2"), np.dtype("<f4")


@dataclasses.dataclass(frozen=True)
class TeacherStore:
    """What a store holds, and where.

    Attributes:
        folder: of the store.
        shape: clips, label frames of 40 ms, classes.
        vocabulary: of the logits, as `Vocabulary.to_json` gives it.
        data_hash: identifies the clips (`PreparedData.manifest_hash`).
        teachers: (name, sha256 of its parameters) each, in the order of summation.
        shard_clips: clips a shard; the last one may have fewer.
    """

    folder: Path
    shape: tuple[int, int, int]
    vocabulary: dict
    data_hash: str
    teachers: tuple[tuple[str, str], ...]
    shard_clips: int

    @classmethod
    def read(cls, folder: Path) -> "TeacherStore":
        """Reads `teacher_logits.json`.

        Raises:
            InputError: it is missing, damaged, or of another version.
        """
        file = folder / DESCRIPTION
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if found["format"] != FORMAT:
                raise InputError(
                    f"{folder}: format {found['format']}, this jaxsed reads {FORMAT}: "
                    "remove the folder and run the ensemble stage again"
                )
            shape = tuple(int(size) for size in found["shape"])
            teachers = tuple((str(name), str(sha)) for name, sha in found["teachers"])
            found["vocabulary"]["hash"]
            plain = found["vocabulary"], str(found["data_hash"])
            store = cls(folder, shape, *plain, teachers, int(found["shard_clips"]))
            if len(shape) != 3 or min(*shape, store.shard_clips, len(teachers)) < 1:
                raise ValueError(f"shape {shape}")
        except (OSError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{folder} is not a store of teacher logits: no readable {DESCRIPTION} "
                f"({type(error).__name__})"
            ) from error
        return store

    def write(self) -> None:
        """Writes `teacher_logits.json`, atomically."""
        content = dataclasses.asdict(self) | {"format": FORMAT}
        del content["folder"]
        write_atomically(self.folder / DESCRIPTION, json.dumps(content, indent=1))

    @property
    def names(self) -> list[str]:
        """The teachers' names, in the order of summation."""
        return [name for name, _ in self.teachers]

    @property
    def clip_shape(self) -> tuple[int, int]:
        """Label frames, classes."""
        return self.shape[1:]

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return -(-self.shape[0] // self.shard_clips)

    def rows(self, shard: int) -> range:
        """Returns the rows of a shard."""
        first = shard * self.shard_clips
        return range(first, min(first + self.shard_clips, self.shape[0]))

    def clip_bytes(self, dtype: np.dtype = MEAN_DTYPE) -> int:
        """Returns the size of a clip's logits."""
        return self.shape[1] * self.shape[2] * dtype.itemsize

    def shard_bytes(self, shard: int, dtype: np.dtype = MEAN_DTYPE) -> int:
        """Returns the size of a shard's logits."""
        return len(self.rows(shard)) * self.clip_bytes(dtype)

    def file(self, shard: int) -> Path:
        """Where the logits of a finished shard are."""
        return self.folder / f"logits-{shard:05d}.f16"

    def write_journal(self, shard: int, crc32: Sequence[int]) -> None:
        """Writes the journal of a shard: what is in it, and the CRC-32 of each clip."""
        content = json.dumps({"teachers": self.names, "crc32": list(crc32)})
        write_atomically(self._journal(shard), content)

    def crc32(self, shard: int) -> np.ndarray | None:
        """Returns the CRC-32 of each clip, uint32 `[k]`; None for an unfinished shard.

        A shard whose file has not the right size is unfinished.
        """
        try:
            journal = json.loads(self._journal(shard).read_text(encoding="utf-8"))
            found = np.array(journal["crc32"], np.uint32)
            expected = self.names, len(self.rows(shard)), self.shard_bytes(shard)
            size = self.file(shard).stat().st_size
            if (journal["teachers"], len(found), size) != expected:
                return None
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return None
        return found

    def unfinished(self) -> list[int]:
        """Returns the shards that are not finished, ascending."""
        return [s for s in range(self.n_shards) if self.crc32(s) is None]

    def _journal(self, shard: int) -> Path:
        return self.folder / f"logits-{shard:05d}.json"


def check_room(folder: Path, n_bytes: int) -> None:
    """Refuses to begin what the disk cannot hold.

    Args:
        folder: on the disk; exists.
        n_bytes: to be written.

    Raises:
        InputError: fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise InputError(
            f"{folder} needs {n_bytes / 1e9:.1f} GB more, its disk has "
            f"{free / 1e9:.1f} GB free: make room, or use another disk"
        )
