"""The index of a prepared folder: a row a clip, read without reading it.

`index.npz` holds plain numpy arrays, uncompressed, each at a multiple of 64 bytes, so
that they are mapped into memory: opening costs the same time and next to no memory
whatever the number of clips, and loader processes share what they touch. Folders
written before that hold the ids as one array of numpy text; they are read as well.
"""

import array
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jaxsed.atomic import replacing
from jaxsed.data.text_column import TextColumn
from jaxsed.errors import InputError

INDEX = "index.npz"
# APPNOTE.TXT of the zip format, section 4.3.7: length of a local header without its
# name and extra field; 4.5.3: length of the extra field with sizes of 64 bit.
_LOCAL_HEADER, _ZIP64_EXTRA = 30, 20
_PADDING_ID = 0xD935  # of the extra field by which Android's zipalign pads
_ALIGNMENT = 64


class Index(NamedTuple):
    """What is known of the clips without reading their audio.

    Attributes:
      ids: str `[clips]`.
      durations: float64 `[clips]`, seconds.
      shard: int32 `[clips]`, which shard of the manifest's list holds the clip.
      row: int32 `[clips]`, which record of the shard.
      first_event: int64 `[clips + 1]`: clip i has the events `first_event[i]` to
        `first_event[i + 1]`.
      onsets: float64 `[events]`, seconds.
      offsets: float64 `[events]`, seconds.
      labels: int32 `[events]`, class indices.
    """

    ids: TextColumn
    durations: np.ndarray
    shard: np.ndarray
    row: np.ndarray
    first_event: np.ndarray
    onsets: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray

    def check(self) -> None:
        """Makes sure that the columns are of one length.

        Raises:
          ValueError: They are not.
        """
        places = self.durations, self.shard, self.row, self.first_event[1:]
        events = self.onsets, self.offsets, self.labels
        if {len(column) for column in places} != {len(self.ids)}:
            raise ValueError("columns of clips differ in length")
        if {len(column) for column in events} != {int(self.first_event[-1])}:
            raise ValueError("columns of events differ in length")


def write_index(
    directory: Path, clips: Iterable[dict], shard: Iterable[int], row: Iterable[int]
) -> None:
    """Writes `index.npz`, atomically.

    Args:
      directory: The prepared folder.
      clips: A dict a clip, with `id`, `duration` (seconds) and `events`
        (`[onset, offset, label]` each), sorted by id. Gone through once, so that it may
        be an iterator over more clips than fit in memory.
      shard: Which shard of the manifest's list holds the clip.
      row: Which record of the shard.

    Raises:
      OSError: It cannot be written.
    """
    durations, first_event = array.array("d"), array.array("q", [0])
    onsets, offsets, labels = array.array("d"), array.array("d"), array.array("i")

    def ids():
        for clip in clips:
            durations.append(clip["duration"])
            for onset, offset, label in clip["events"]:
                onsets.append(onset)
                offsets.append(offset)
                labels.append(label)
            first_event.append(len(labels))
            yield clip["id"]

    names = TextColumn.of(ids())
    columns = {
        "id_utf8": names.utf8,
        "id_first_byte": names.first_byte,
        "durations": np.asarray(durations, np.float64),
        "shard": np.fromiter(shard, np.int32),
        "row": np.fromiter(row, np.int32),
        "first_event": np.asarray(first_event, np.int64),
        "onsets": np.asarray(onsets, np.float64),
        "offsets": np.asarray(offsets, np.float64),
        "labels": np.asarray(labels, np.int32),
    }
    with (
        replacing(directory / INDEX) as beside,
        open(beside, "wb") as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        for name, column in columns.items():
            _add(archive, file, f"{name}.npy", column)


def _add(
    archive: zipfile.ZipFile, file: BinaryIO, name: str, column: np.ndarray
) -> None:
    member = zipfile.ZipInfo(name)
    header = _LOCAL_HEADER + len(name) + _ZIP64_EXTRA + 4
    padding = -(file.tell() + header) % _ALIGNMENT
    member.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
    with archive.open(member, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, column, allow_pickle=False)


def read_index(directory: Path) -> Index:
    """Opens the index of a folder.

    Raises:
      InputError: It is missing or damaged.
    """
    path = directory / INDEX
    try:
        columns = _map_columns(path)
        if "ids" in columns:  # as it was written before ids were bytes
            ids = TextColumn.of(columns["ids"].tolist())
        else:
            ids = TextColumn(columns["id_utf8"], columns["id_first_byte"])
        index = Index(ids, *(columns[name] for name in Index._fields[1:]))
        index.check()
    except KeyError as error:
        raise _damaged(path, f"no column {error}") from error
    except (OSError, ValueError, TypeError, EOFError, struct.error) as error:
        raise _damaged(path, error) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _damaged(path, error) from error
    return index


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(
        f"{path} is damaged ({reason}); run the same `jaxsed prepare` again"
    )


def _map_columns(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        # Mapped arrays are not checked when they are used.
        if broken := archive.testzip():
            raise zipfile.BadZipFile(f"checksum of {broken}")
        members = archive.infolist()
    content = np.memmap(path, np.uint8, "r").view(np.ndarray)
    with open(path, "rb") as file:
        return {
            member.filename.removesuffix(".npy"): _map(content, file, member)
            for member in members
        }


def _map(content: np.ndarray, file: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is compressed")
    file.seek(member.header_offset)
    name_length, extra_length = struct.unpack_from("<HH", file.read(_LOCAL_HEADER), 26)
    file.seek(name_length + extra_length, 1)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"{member.filename} has version {version}")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds objects")
    return np.ndarray(shape, dtype, content.data, file.tell())
