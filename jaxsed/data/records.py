"""The folder that `jaxsed prepare` writes for a split, and how to read it.

    manifest.json   what is inside: format version, layout, split, vocabulary, counts per
                    class, content hash, resampler, problems by kind, shards
    problems.tsv    what was wrong with the source: clip, kind, detail
    index.npz       one row a clip, plain arrays: ids, durations, place of the audio, events
    shards/         ArrayRecord files; a record is one clip

A record is a length (4 bytes, little endian), a JSON header of that length (`id`, `file`,
`sample_rate`, `channels`) and the bytes of the original sound file. Audio is kept
compressed and is decoded by the loader: `jaxsed.audio.decode.load_mono`.
"""

import io
import json
import os
import struct
import threading
import zipfile
from pathlib import Path

import numpy as np

from jaxsed.errors import InputError
from jaxsed.labels.events import Event
from jaxsed.labels.vocab import Vocabulary

FORMAT_VERSION = 1
MANIFEST, INDEX, PROBLEMS, SHARDS = (
    "manifest.json",
    "index.npz",
    "problems.tsv",
    "shards",
)
# One clip a group, or reading a clip would decompress its neighbours too; sound files
# are compressed already.
WRITER_OPTIONS = "group_size:1,uncompressed"
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # for random access
_LENGTH = struct.Struct("<I")


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


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there: whole, or not at all.

    Raises:
      InputError: The disk is full, the folder is read-only, and so on.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def write_index(
    directory: Path, clips: list[dict], shard: list[int], row: list[int]
) -> None:
    """Writes `index.npz`, atomically.

    Args:
      directory: The prepared folder.
      clips: A dict a clip, with `id`, `duration` (seconds) and `events`
        (`[onset, offset, label]` each), sorted by id.
      shard: Which shard of the manifest's list holds the clip.
      row: Which record of the shard.
    """
    events = [event for clip in clips for event in clip["events"]]
    times = np.array([event[:2] for event in events], np.float64).reshape(-1, 2)
    content = io.BytesIO()
    np.savez(
        content,
        ids=np.array([clip["id"] for clip in clips], np.str_),
        durations=np.array([clip["duration"] for clip in clips], np.float64),
        shard=np.array(shard, np.int32),
        row=np.array(row, np.int32),
        # Clip i has the events first_event[i] to first_event[i + 1].
        first_event=np.cumsum([0] + [len(clip["events"]) for clip in clips]),
        onsets=times[:, 0],
        offsets=times[:, 1],
        labels=np.array([event[2] for event in events], np.int32),
    )
    write_atomically(directory / INDEX, content.getvalue())


class PreparedData:
    """A folder written by `jaxsed prepare`: index in memory, audio by random access.

    Can be pickled and sent to loader processes; every process opens the shards it reads.

    Attributes:
      directory: The folder, absolute.
      manifest: `manifest.json` as a dict.
      manifest_hash: sha256 (hex) over vocabulary, ids, audio and events; the same
        whatever the number of shards or workers.
      vocabulary: The classes that event labels index.
      ids: str `[clips]`, sorted and unique.
      durations: float64 `[clips]`, seconds, as decoded.
    """

    def __init__(self, directory: str | Path):
        """Opens the folder: reads manifest and index, looks at no audio.

        Raises:
          InputError: Not a prepared folder, an unfinished or damaged one, or one of a
            newer format.
        """
        self.directory = Path(directory).resolve()
        self.manifest = _read_manifest(self.directory)
        self.manifest_hash: str = self.manifest["content_hash"]
        self.vocabulary = Vocabulary.from_json(self.manifest["vocabulary"])
        self._shards = [
            self.directory / SHARDS / shard["file"] for shard in self.manifest["shards"]
        ]
        self._check_shards()
        columns = _read_index(self.directory / INDEX)
        self.ids: np.ndarray = columns["ids"]
        self.durations: np.ndarray = columns["durations"]
        self._shard, self._row = columns["shard"], columns["row"]
        self._first_event = columns["first_event"]
        self._onsets, self._offsets = columns["onsets"], columns["offsets"]
        self._labels = columns["labels"]
        if len(self.ids) != self.manifest["clips"]:
            raise InputError(
                f"{self.directory / INDEX} has {len(self.ids)} clips, the manifest "
                f"{self.manifest['clips']}; run the same `jaxsed prepare` again"
            )
        self._readers: dict[tuple[int, int], object] = {}
        self._lock = threading.Lock()

    def __reduce__(self):
        return PreparedData, (self.directory,)

    def __len__(self) -> int:
        return len(self.ids)

    def events(self, i: int) -> list[Event]:
        """Returns the events of clip `i`, merged, sorted by onset."""
        rows = slice(self._first_event[i], self._first_event[i + 1])
        columns = self._onsets[rows], self._offsets[rows], self._labels[rows]
        return [Event(*row) for row in zip(*(column.tolist() for column in columns))]

    def active_seconds(self) -> np.ndarray:
        """Returns how long each class sounds in each clip, float64 `[clips, c]`."""
        seconds = np.zeros((len(self), len(self.vocabulary)))
        clip = np.repeat(np.arange(len(self)), np.diff(self._first_event))
        np.add.at(seconds, (clip, self._labels), self._offsets - self._onsets)
        return seconds

    def audio_bytes(self, i: int) -> bytes:
        """Returns the original sound file of clip `i`.

        Raises:
          InputError: The shard is unreadable or belongs to another index; named.
        """
        shard = int(self._shard[i])
        try:
            (record,) = self._reader(shard).read([int(self._row[i])])
            header, audio = unpack_record(record)
        except (RuntimeError, InputError) as error:  # array_record raises RuntimeError
            raise InputError(
                f"{self._shards[shard]} is damaged at clip {str(self.ids[i])!r} "
                f"({error}); delete it and run the same `jaxsed prepare` again"
            ) from error
        if header["id"] != self.ids[i]:
            raise InputError(
                f"{self._shards[shard]} holds clip {header['id']!r} where the index "
                f"expects {str(self.ids[i])!r}: an update was interrupted; run the same "
                "`jaxsed prepare` again"
            )
        return audio

    def _reader(self, shard: int):
        # Readers do not survive a fork, hence one a process.
        key = os.getpid(), shard
        reader = self._readers.get(key)
        if reader is None:
            with self._lock:
                reader = self._readers.get(key)
                if reader is None:
                    reader = self._readers[key] = open_shard(self._shards[shard])
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


def _read_index(path: Path) -> dict[str, np.ndarray]:
    names = ("ids", "durations", "shard", "row")
    names += ("first_event", "onsets", "offsets", "labels")
    try:
        with np.load(path, allow_pickle=False) as index:
            return {name: index[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged ({error}); run the same `jaxsed prepare` again"
        ) from error
