"""How a store of teacher logits lies on disk; shared by its reader and its writer.

    teacher_logits.json   shape [clips, t, c], vocabulary, hash of the data, clips a shard,
                          teachers (name and sha256 of the parameters) in order of summation
    ids.json              ids of the clips
    slices.json           where some clips are longer than a row: label frames of a slice,
                          and those of each clip; rows are slices, clip by clip
    logits-00003.f16      shard 3: float16 [k, t, c], C order, little-endian
    logits-00003.json     its teachers, and the CRC-32 of every clip
    in_progress/          shards that are being written, see `teacher_shard`

Finished shards are as `row_shards` says.

Logits of whole clips are a store of one frame, t = 1, which lasts as long as the clip, or
as its slice.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jaxsed.atomic import write_atomically
from jaxsed.data.row_shards import RowShards
from jaxsed.data.slice_rows import SliceRows
from jaxsed.errors import InputError

DESCRIPTION, IDS, IN_PROGRESS = "teacher_logits.json", "ids.json", "in_progress"
SLICES = "slices.json"
FORMAT = 2
MEAN_DTYPE, SUM_DTYPE = np.dtype("<f2"), np.dtype("<f4")


@dataclasses.dataclass(frozen=True)
class TeacherStore(RowShards):
    """What a store holds, and where; a row is a clip, or a slice of a longer one.

    Attributes:
        folder: of the store.
        shape: rows, label frames of 40 ms, classes.
        vocabulary: of the logits, as `Vocabulary.to_json` gives it.
        data_hash: identifies the clips (`PreparedData.manifest_hash`).
        teachers: (name, sha256 of its parameters) each, in the order of summation.
        shard_clips: rows a shard; the last one may have fewer.
    """

    folder: Path
    shape: tuple[int, int, int]
    vocabulary: dict
    data_hash: str
    teachers: tuple[tuple[str, str], ...]
    shard_clips: int

    stem, suffix = "logits", "f16"

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

    def write_slices(self, slices: SliceRows) -> None:
        """Writes `slices.json`, atomically."""
        frames = slices.clip_frames.tolist()
        content = {"slice_frames": slices.slice_frames, "clip_frames": frames}
        write_atomically(self.folder / SLICES, json.dumps(content))

    def ids(self) -> list[str]:
        """Returns the ids of the clips.

        Raises:
            InputError: `ids.json` is missing or damaged.
        """
        file = self.folder / IDS
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{file} is missing or damaged ({error}): copy it again, or remove "
                f"{self.folder} and run the ensemble stage again"
            ) from error

    def slices(self) -> SliceRows | None:
        """Returns what rows are slices of; None where every clip is a row.

        Raises:
            InputError: `slices.json` is damaged.
        """
        file = self.folder / SLICES
        try:
            if not file.exists():
                return None
            found = json.loads(file.read_text(encoding="utf-8"))
            slices = SliceRows(found["clip_frames"], int(found["slice_frames"]))
            if slices.clip_frames.min() < 1 or len(slices) != self.n_rows:
                raise ValueError(f"{len(slices)} slices")
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{file} is damaged ({error}): remove {self.folder} and run the ensemble "
                "stage again"
            ) from error
        return slices

    @property
    def names(self) -> list[str]:
        """The teachers' names, in the order of summation."""
        return [name for name, _ in self.teachers]

    @property
    def n_rows(self) -> int:
        """Clips, or slices of longer ones."""
        return self.shape[0]

    @property
    def shard_rows(self) -> int:
        """Rows a shard."""
        return self.shard_clips

    @property
    def row_bytes(self) -> int:
        """Size of a row's mean logits."""
        return self.clip_bytes()

    @property
    def origin(self) -> dict[str, list[str]]:
        """What a shard's journal says that its logits are of."""
        return {"teachers": self.names}

    @property
    def remedy(self) -> str:
        """What to do about a damaged shard."""
        return (
            f"run the ensemble stage again (teachers: {', '.join(self.names)}), which "
            "computes what is missing alone"
        )

    @property
    def clip_shape(self) -> tuple[int, int]:
        """Label frames, classes."""
        return self.shape[1:]

    def clip_bytes(self, dtype: np.dtype = MEAN_DTYPE) -> int:
        """Returns the size of a row's logits."""
        return self.shape[1] * self.shape[2] * dtype.itemsize

    def shard_bytes(self, shard: int, dtype: np.dtype = MEAN_DTYPE) -> int:
        """Returns the size of a shard's logits."""
        return len(self.rows(shard)) * self.clip_bytes(dtype)
