"""The zip archive that `torch.save` writes since PyTorch 1.6, mapped into memory.

`NAME/data.pkl` is the pickle, `NAME/data/KEY` the bytes of storage KEY, `NAME/byteorder`
their byte order (`torch/serialization.py`, `_save`). Entries are stored uncompressed;
an archive that was packed again may be compressed, within limits.
"""

import io
import itertools
import struct
import zipfile
import zlib

import numpy as np

from jaxsed.weights.torch_content import BrokenFileError

# Of the list of entries: 100,000 of them, where a transformer has a few hundred.
MAX_DIRECTORY_BYTES = 16 * 2**20
# Compressed entries in all. Weights shrink by a tenth, a zip bomb by a thousand.
MAX_INFLATION = 4
MAX_INFLATION_BYTES = 64 * 2**20

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header


class Archive:
    """Entries of a zip file as views of the mapped file.

    Args:
      buffer: The whole file, `mmap` or bytes.

    Raises:
      BrokenFileError: Not a whole zip file, or one that misuses the format.
    """

    def __init__(self, buffer):
        self._buffer = buffer
        self._budget_bytes = MAX_INFLATION * len(buffer) + MAX_INFLATION_BYTES
        self._check_directory()
        try:
            # The list of entries only; nothing is unpacked by it.
            with zipfile.ZipFile(_MappedFile(buffer)) as opened:
                infos = opened.infolist()
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise BrokenFileError(f"its list of entries is damaged ({error})") from None
        self._infos = {info.filename: info for info in infos}
        if len(self._infos) < len(infos):
            raise BrokenFileError("two entries in it have the same name")
        self._spans = {info.filename: self._span(info) for info in infos}
        self._check_overlap()

    @property
    def names(self) -> list[str]:
        """Names of the entries, in the order of the file's list."""
        return list(self._infos)

    def content(self, name: str) -> np.ndarray:
        """Returns an entry as uint8 [bytes], a view of the file unless compressed.

        Raises:
          BrokenFileError: No such entry, or one that cannot be unpacked.
        """
        if name not in self._infos:
            raise BrokenFileError(f"it lacks the entry {name!r}")
        info = self._infos[name]
        start, end = self._spans[name]
        packed = np.frombuffer(self._buffer, np.uint8, end - start, start)
        if info.compress_type == zipfile.ZIP_STORED:
            return packed
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise BrokenFileError(f"its entry {name!r} is packed in an unusual way")
        self._budget_bytes -= info.file_size
        if self._budget_bytes < 0:
            raise BrokenFileError(
                "unpacked it would be many times its size: a zip bomb"
            )
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = inflate.decompress(packed, info.file_size + 1)
        except zlib.error as error:
            raise BrokenFileError(f"its entry {name!r} is damaged ({error})") from None
        if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
            raise BrokenFileError(f"its entry {name!r} is damaged")
        return np.frombuffer(content, np.uint8)

    def verify(self) -> None:
        """Compares the bytes of all entries that are not compressed with their checksums.

        Reads the whole file. PyTorch may leave checksums out (`set_crc32_options`) and
        writes 0 then.

        Raises:
          BrokenFileError: Some bytes are not those that were written.
        """
        for name, info in self._infos.items():
            is_known = info.compress_type == zipfile.ZIP_STORED and info.CRC
            if is_known and zlib.crc32(self.content(name)) != info.CRC:
                raise BrokenFileError(
                    f"the bytes of its entry {name[:100]!r} are not those that were "
                    "written, as after a download with holes; download it again"
                )

    def _check_directory(self):
        """Refuses a list of entries that would fill the memory, before it is read."""
        at = self._buffer.rfind(
            b"PK\5\6", max(0, len(self._buffer) - 2**16 - _END.size)
        )
        if at < 0 or at + _END.size > len(self._buffer):
            raise BrokenFileError("it is cut off, as by a download that did not finish")
        size = _END.unpack_from(self._buffer, at)[5]
        locator = at - _END64_LOCATOR.size
        if locator >= 0 and self._buffer[locator : locator + 4] == b"PK\6\7":
            at64 = _END64_LOCATOR.unpack_from(self._buffer, locator)[2]
            is_there = self._buffer[at64 : at64 + 4] == b"PK\6\6"
            if not is_there or at64 + _END64.size > len(self._buffer):
                raise BrokenFileError("its list of entries is damaged")
            size = _END64.unpack_from(self._buffer, at64)[8]
        if size > MAX_DIRECTORY_BYTES:
            raise BrokenFileError("its list of entries is longer than any checkpoint's")

    def _span(self, info: zipfile.ZipInfo) -> tuple[int, int]:
        """Where an entry's bytes are; its size there is at most what it is unpacked."""
        at = info.header_offset
        if at < 0 or at + _LOCAL.size > len(self._buffer):
            raise BrokenFileError(f"its entry {info.filename!r} lies outside the file")
        signature, *_, name_bytes, extra_bytes = _LOCAL.unpack_from(self._buffer, at)
        start = at + _LOCAL.size + name_bytes + extra_bytes
        end = start + info.compress_size
        if signature != b"PK\3\4" or end > len(self._buffer):
            raise BrokenFileError(f"its entry {info.filename!r} lies outside the file")
        is_stored = info.compress_type == zipfile.ZIP_STORED
        if is_stored and info.compress_size != info.file_size:
            raise BrokenFileError(f"its entry {info.filename!r} has two sizes")
        if info.flag_bits & 1:
            raise BrokenFileError("it is encrypted")
        return start, end

    def _check_overlap(self):
        headers = [
            (info.header_offset, self._spans[name][1])
            for name, info in self._infos.items()
        ]
        headers.sort()
        for (_, end), (start, _) in itertools.pairwise(headers):
            if start < end:
                raise BrokenFileError("entries in it overlap")


class _MappedFile(io.RawIOBase):
    """What `zipfile` needs of a file; reads only what it is asked for."""

    def __init__(self, buffer):
        self._buffer = buffer
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = (0, self._position, len(self._buffer))[whence]
        if base + offset < 0:
            raise OSError("before the start of the file")  # as files do
        self._position = base + offset
        return self._position

    def readinto(self, target) -> int:
        content = self._buffer[self._position : self._position + len(target)]
        target[: len(content)] = content
        self._position += len(content)
        return len(content)
