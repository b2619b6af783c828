"""Whether an Ogg file (Vorbis, Opus, FLAC) was cut off.

Its header promises no length, but the last page of a stream says that it is the last
(RFC 3533, section 6); libsndfile decodes what is there and says nothing.
"""

import os
from typing import IO

_CAPTURE, _HEADER_BYTES = b"OggS", 27
_FLAGS, _END_OF_STREAM = 5, 4  # byte of the header, and its bit
_N_SEGMENTS = 26  # byte of the header; so many lengths of a byte follow
_LONGEST_PAGE = _HEADER_BYTES + 255 + 255 * 255


def is_cut_off(file: IO[bytes]) -> bool:
    """Returns whether a file is an Ogg file that ends before its last page does.

    Args:
      file: Read wherever need be, and left there. Of any other format the answer is no.
    """
    file.seek(0)
    if file.read(len(_CAPTURE)) != _CAPTURE:
        return False
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONGEST_PAGE))
    tail = file.read(_LONGEST_PAGE)
    place = tail.rfind(_CAPTURE)
    if place < 0:
        return False  # something else is behind it
    page = tail[place:]
    if len(page) < _HEADER_BYTES:
        return True
    lengths = page[_HEADER_BYTES : _HEADER_BYTES + page[_N_SEGMENTS]]
    whole = _HEADER_BYTES + page[_N_SEGMENTS] + sum(lengths)
    return len(page) < whole or not page[_FLAGS] & _END_OF_STREAM
