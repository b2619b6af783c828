"""The folder that `jaxsed prepare` writes for a split, and how to read it.

    manifest.json   what is inside: format version, layout, split, annotation (frames or
                    clips), labels (single or multi), vocabulary, counts per class,
                    content hash, resampler, problems by kind, shards
    problems.tsv    what was wrong with the source: clip, kind, detail
    index.npz       one row a clip: id, duration, place of the audio, events
    shards/         ArrayRecord files; a record is one clip

A record is a length (4 bytes, little endian), a JSON header of that length (`id`, `file`,
`sample_rate`, `channels`) and the bytes of the original sound file. Audio is kept
compressed and is decoded by the loader: `jaxsed.audio.decode.load_mono`.
"""

import collections
import importlib.util
import json
import os
import struct
import threading
from pathlib import Path

import numpy as np

from jaxsed.data.activity import ClassActivity
from jaxsed.data.index import INDEX, read_index, write_index
from jaxsed.data.text_column import TextColumn
from jaxsed.errors import InputError
from jaxsed.labels.clip_names import legible
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

__all__ = [
    "FORMAT_VERSION",
    "INDEX",
    "MANIFEST",
    "PROBLEMS",
    "SHARDS",
    "WRITER_OPTIONS",
    "PreparedData",
    "open_shard",
    "pack_record",
    "require_array_record",
    "unpack_record",
    "write_index",
]

FORMAT_VERSION = 1
MANIFEST, PROBLEMS, SHARDS = "manifest.json", "problems.tsv", "shards"
# One clip a group, or reading a clip would decompress its neighbours too; sound files
# are compressed already.
WRITER_OPTIONS = "group_size:1,uncompressed"
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for random access
_LENGTH = struct.Struct("<I")
# Each takes a file descriptor, of which a process has 1,024 by default; two million
# clips are thousands of shards.
_OPEN_SHARDS = 256


def pack_record(header: dict, audio: bytes) -> bytes:
    """Joins a JSON-able header and the bytes of a sound file into a record."""
    text = json.dumps(header, ensure_ascii=False, sort_keys=True).encode("utf-8")
    return _LENGTH.pack(len(text)) + text + audio


def unpack_record(record: bytes) -> tuple[dict, bytes]:
    """Returns `(header, audio bytes)` of a record.

    Raises:
      InputError: Not a record.
    """
    try:
        (length,) = _LENGTH.unpack_from(record)
        if _LENGTH.size + length > len(record):
            raise ValueError(f"{len(record)} bytes, header alone has {length}")
        header = json.loads(record[_LENGTH.size : _LENGTH.size + length])
        return header, record[_LENGTH.size + length :]
    except (struct.error, ValueError) as error:
        raise InputError(f"not a clip record ({error})") from error


class PreparedData:
    """A folder written by `jaxsed prepare`: index mapped, audio by random access.

    Can be pickled and sent to loader processes; every process opens the shards it reads
    and shares the memory of the index.

    Attributes:
      directory: The folder, absolute.
      manifest: `manifest.json` as a dict.
      manifest_hash: sha256 (hex) over vocabulary, ids, audio and events; the same
        whatever the number of shards or workers.
      vocabulary: The classes that event labels index.
      labels: `single` where a clip has one class of those, else `multi` (also of folders
        written before there was `single`).
      ids: str `[clips]`, sorted and unique; a sequence, not a numpy array.
      durations: float64 `[clips]`, seconds, as decoded.
    """

    def __init__(self, directory: str | Path):
        """Opens the folder: reads manifest and index, looks at no audio.

        Raises:
          InputError: Not a prepared folder, an unfinished or damaged one, one of a newer
            format or with a name that is not Unicode; or array_record is missing.
        """
        self.directory = Path(directory).resolve()
        require_array_record(self.directory)
        self.manifest = _read_manifest(self.directory)
        self.manifest_hash: str = self.manifest["content_hash"]
        self.vocabulary = Vocabulary.from_json(self.manifest["vocabulary"])
        self.labels: str = self.manifest.get("labels", "multi")
        self._shards = [
            self.directory / SHARDS / shard["file"] for shard in self.manifest["shards"]
        ]
        self._check_shards()
        self._index = read_index(self.directory)
        self.ids: TextColumn = self._index.ids
        self.durations: np.ndarray = self._index.durations
        if len(self.ids) != self.manifest["clips"]:
            raise InputError(
                f"{self.directory / INDEX} has {len(self.ids)} clips, the manifest "
                f"{self.manifest['clips']}; run the same `jaxsed prepare` again"
            )
        self._readers: collections.OrderedDict = collections.OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self):
        return PreparedData, (self.directory,)

    def __len__(self) -> int:
        return len(self.ids)

    def events(self, i: int) -> list[Event]:
        """Returns the events of clip `i`, sorted by onset.

        Those of a class do not overlap or touch, unless the layout keeps events as they
        were annotated (`SourceSplit.merges_events`).
        """
        index = self._index
        rows = slice(*index.first_event[i : i + 2].tolist())
        columns = index.onsets[rows], index.offsets[rows], index.labels[rows]
        return [Event(*row) for row in zip(*(column.tolist() for column in columns))]

    def activity(self) -> ClassActivity:
        """Returns how long each class sounds in each clip, without a table of it."""
        index = self._index
        events = index.first_event, index.labels, index.onsets, index.offsets
        return ClassActivity(*events, len(self.vocabulary))

    def place(self, i: int) -> str:
        """Returns where clip `i` lies, for messages: its record and shard."""
        shard = self._shards[self._index.shard[i]]
        return f"record {self._index.row[i]} of {shard}"

    def audio_bytes(self, i: int) -> bytes:
        """Returns the original sound file of clip `i`.

        Raises:
          InputError: The shard is unreadable or belongs to another index; named.
        """
        shard, clip_id = int(self._index.shard[i]), self.ids[i]
        try:
            (record,) = self._reader(shard).read([int(self._index.row[i])])
            header, audio = unpack_record(record)
        except (RuntimeError, InputError) as error:  # array_record raises RuntimeError
            raise InputError(
                f"{self._shards[shard]} is damaged at clip {clip_id!r} "
                f"({error}); delete it and run the same `jaxsed prepare` again"
            ) from error
        if header["id"] != clip_id:
            raise InputError(
                f"{self._shards[shard]} holds clip {header['id']!r} where the index "
                f"expects {clip_id!r}: an update was interrupted; run the same "
                "`jaxsed prepare` again"
            )
        return audio

    def _reader(self, shard: int):
        # Readers do not survive a fork, hence one a process. One that is dropped here
        # closes when the last thread that reads from it has done so.
        key = os.getpid(), shard
        with self._lock:
            if key in self._readers:
                self._readers.move_to_end(key)
                return self._readers[key]
        reader = open_shard(self._shards[shard])
        with self._lock:
            self._readers[key] = reader
            while len(self._readers) > _OPEN_SHARDS:
                self._readers.popitem(last=False)
        return reader

    def _check_shards(self) -> None:
        for path, shard in zip(self._shards, self.manifest["shards"], strict=True):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise InputError(
                    f"shard {path} is missing ({error.strerror}); run the same "
                    "`jaxsed prepare` again"
                ) from error
            if size != shard["bytes"]:
                raise InputError(
                    f"shard {path} has {size} bytes instead of {shard['bytes']}: cut "
                    "off or changed; run the same `jaxsed prepare` again"
                )


def require_array_record(folder: Path) -> None:
    """Raises InputError where array_record cannot be used.

    Args:
      folder: Where its files are to be; it takes no name that is not Unicode.

    Raises:
      InputError: It is not there, as on Windows, or the folder's name is not Unicode.
    """
    if legible(str(folder)) != str(folder):
        raise InputError(
            f"{legible(str(folder))}: the name of a folder of prepared data has to be "
            "Unicode; give it another one"
        )
    if importlib.util.find_spec("array_record") is None:
        raise InputError(
            "the package array_record is missing, which has no build for Windows: prepare "
            "and train on Linux or macOS, or in WSL (wsl --install)"
        )


def open_shard(path: Path):
    """Opens an ArrayRecord file for random access.

    Raises:
      RuntimeError: Not readable (as array_record raises it).
    """
    from array_record.python import array_record_module

    return array_record_module.ArrayRecordReader(str(path), _READER_OPTIONS)


def _read_manifest(directory: Path) -> dict:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(_why_not_prepared(directory)) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error})") from error
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path} is not the manifest of a prepared folder")
    if version > FORMAT_VERSION:
        raise InputError(
            f"{directory} has format {version}, this version of jaxsed reads up to "
            f"{FORMAT_VERSION}; update jaxsed or prepare the data again"
        )
    needed = {"content_hash", "vocabulary", "shards", "clips"}
    if not needed <= manifest.keys():
        absent = ", ".join(sorted(needed - manifest.keys()))
        raise InputError(f"{path} lacks {absent}; prepare the data again")
    return manifest


def _why_not_prepared(directory: Path) -> str:
    if not directory.is_dir():
        return f"{directory} is not a folder; expected one written by `jaxsed prepare`"
    splits = sorted(path.parent.name for path in directory.glob(f"*/{MANIFEST}"))
    if splits:
        folders = " or ".join(str(directory / split) for split in splits)
        return f"{directory} holds several splits; use {folders}"
    if (directory / SHARDS).is_dir():
        return f"{directory} is unfinished; run the same `jaxsed prepare` again"
    return (
        f"{directory} is not a prepared folder (no {MANIFEST}); write one with "
        "`jaxsed prepare LAYOUT SRC --out DIR`"
    )
