"""How much sound the header of a WAV or AIFF file promises, and how much there is.

libsndfile says nothing where a file holds less than its header promises. Nor can it help
itself where the length in a WAV's header is wrong: a recorder that lost its power before
it wrote the length left 0, and one that went on beyond 4 GiB, which 32 bits cannot hold,
left the remainder. The rest of the sound would be lost in silence.
"""

import io
import os
import struct
from typing import IO, NamedTuple

# What writers to a pipe put there, who never learn the length: ffmpeg the highest of 32
# bits, sox 0x7FFFF000, others something in between; give or take a header.
_NO_PROMISE = (range(0x7FFF_0000, 0x8000_0000), range(0xFFFF_0000, 0x1_0000_0000))
_WRAP = 1 << 32
_MOST_CHUNKS = 1000  # before the sound; more is a broken file
_FORMAT_CHUNK, _LONG_LENGTHS_CHUNK = b"fmt ", b"ds64"


class Sound(NamedTuple):
    """Where the sound of a file lies.

    Attributes:
      start: Its first byte.
      length: Bytes that the header says it has.
      there: Bytes that there are: at most `length`, unless that is wrong.
      layout: Content of a WAV's `fmt ` chunk.
    """

    start: int
    length: int
    there: int
    layout: bytes

    @property
    def is_cut_off(self) -> bool:
        """The file ends before its sound does, or was never finished."""
        if _is_unknown(self.length):
            return False
        return self.there < self.length or self.length == 0 < self.there

    @property
    def is_longer(self) -> bool:
        """The length in the header is too small."""
        return self.there > self.length


def find_sound(file: IO[bytes]) -> Sound | None:
    """Looks for the sound in a WAV or AIFF file; None in any other, and without one.

    Args:
      file: Read wherever need be, and left there.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    kind, form = struct.unpack("4s4x4s", file.read(12).ljust(12))
    if kind in (b"RIFF", b"RF64") and form == b"WAVE":
        order, wanted = "<", b"data"
    elif kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        order, wanted = ">", b"SSND"
    else:
        return None
    layout, long_length, place = b"", None, 12
    for _ in range(_MOST_CHUNKS):
        chunk = _chunk_at(file, place, order)
        if chunk is None:
            break
        name, length = chunk
        if name == wanted:
            start = place + 8
            length = length if long_length is None else long_length
            there = max(0, min(length, size - start))
            if kind == b"RIFF" and layout:
                there = _there(file, start, length, size)
            return Sound(start, length, there, layout)
        if name == _FORMAT_CHUNK:
            layout = file.read(min(length, 1024))
        elif name == _LONG_LENGTHS_CHUNK and kind == b"RF64":
            (long_length,) = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))
        place += 8 + length + length % 2
    return None


def _chunk_at(file: IO[bytes], place: int, order: str) -> tuple[bytes, int] | None:
    """Returns name and length of a chunk, with `file` behind these; None at the end."""
    file.seek(place)
    head = file.read(8)
    return struct.unpack(f"{order}4sI", head) if len(head) == 8 else None


def _is_unknown(length: int) -> bool:
    return any(length in lengths for lengths in _NO_PROMISE)


def _there(file, start: int, length: int, size: int) -> int:
    """Bytes of sound in a WAV whose header says 32 bits of their number."""
    behind = max(0, size - start)
    if _is_unknown(length) or (not length and not _is_chunk(file, start, size)):
        return behind
    if behind >= length + _WRAP:
        return length + (behind - length) // _WRAP * _WRAP
    return min(length, behind)


def _is_chunk(file, place: int, size: int) -> bool:
    """Whether a chunk of text, or of whatever else, is there, or nothing."""
    chunk = _chunk_at(file, place, "<")
    if chunk is None:
        return True
    name, length = chunk
    return all(32 <= byte < 127 for byte in name) and place + 8 + length <= size


class MendedWave(io.RawIOBase):
    """A WAV file whose header has the right length, for reading.

    The header is that of an RF64, the WAV whose lengths have 64 bits (EBU Tech 3306).

    Args:
      file: The WAV file; nobody else may move in it.
      sound: Of which there is more than its header promises.
    """

    def __init__(self, file: IO[bytes], sound: Sound):
        self._file, self._start = file, sound.start
        layout = sound.layout + b"\0" * (len(sound.layout) % 2)
        long_lengths = struct.pack("<QQQI", 0, sound.there, 0, 0)
        chunks = [
            *(_LONG_LENGTHS_CHUNK, struct.pack("<I", len(long_lengths)), long_lengths),
            *(_FORMAT_CHUNK, struct.pack("<I", len(sound.layout)), layout),
            *(b"data", struct.pack("<I", _WRAP - 1)),
        ]
        self._head = struct.pack("<4sI4s", b"RF64", _WRAP - 1, b"WAVE")
        self._head += b"".join(chunks)
        self._length = len(self._head) + sound.there
        self._position = 0

    def readable(self) -> bool:
        """Says yes."""
        return True

    def seekable(self) -> bool:
        """Says yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a byte, and returns which."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer) -> int:
        """Fills a buffer; returns how many bytes there were."""
        view = memoryview(buffer).cast("B")
        head = self._head[self._position : self._position + len(view)]
        view[: len(head)] = head
        n = len(head)
        left = self._length - self._position - n
        wanted = max(0, min(len(view) - n, left))
        if wanted:
            self._file.seek(self._start + self._position + n - len(self._head))
            n += self._file.readinto(view[n : n + wanted])
        self._position += n
        return n
