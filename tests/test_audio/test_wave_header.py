import io
import struct

import numpy as np
import pytest

from jaxsed.audio import wave_header
from jaxsed.audio.decode import decode
from jaxsed.audio.reader import Reader

from .sounds import encoded, tone

WAVE = tone(1.0, 16_000)


def with_length(content: bytes, length: int) -> bytes:
    """Puts another length of the sound into a WAV's header."""
    place = content.index(b"data") + 4
    return content[:place] + struct.pack("<I", length) + content[place + 4 :]


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "AIFF"])
def test_a_file_that_ends_before_its_sound_is_cut_off(form):
    whole = encoded(WAVE, 16_000, format=form, subtype="PCM_24")
    sound = wave_header.find_sound(io.BytesIO(whole))
    assert not sound.is_cut_off and not sound.is_longer
    assert sound.start + sound.there == len(whole)
    sound = wave_header.find_sound(io.BytesIO(whole[:-3]))
    assert sound.is_cut_off and sound.start + sound.there == len(whole) - 3


@pytest.mark.parametrize("form", ["FLAC", "OGG", "AU", "CAF"])
def test_other_files_are_left_alone(form):
    content = encoded(WAVE, 16_000, format=form)
    for n_bytes in (len(content), 11, 0):
        assert wave_header.find_sound(io.BytesIO(content[:n_bytes])) is None


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_recorder_that_never_wrote_the_length(subtype):
    whole = encoded(WAVE, 16_000, format="WAV", subtype=subtype)
    found = decode(with_length(whole, 0))
    assert np.array_equal(found.samples, decode(whole).samples)
    assert found.truncated


def test_no_sound_before_other_chunks_is_no_sound():
    empty = encoded(WAVE[:0], 16_000, format="WAV")
    for behind in (b"", b"LIST" + struct.pack("<I", 4) + b"INFO", b"\0\0\0"):
        sound = wave_header.find_sound(io.BytesIO(empty + behind))
        assert sound.there == 0 and not sound.is_cut_off


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_FFDB])
def test_lengths_of_streams_promise_nothing(length):
    whole = encoded(WAVE, 16_000, format="WAV")
    found = decode(with_length(whole, length))
    assert np.array_equal(found.samples, decode(whole).samples)
    assert not found.truncated


@pytest.mark.parametrize("length", [1000, 0xFFFF_FFFF, 0x7FFF_F000])
def test_beyond_four_gigabytes_nothing_is_lost(tmp_path, length):
    header = with_length(encoded(WAVE[:0], 16_000, format="WAV"), length)
    path = tmp_path / "long.wav"
    n_bytes = 2**32 + 1000
    with open(path, "wb") as file:  # sparse: takes no room
        file.write(header + struct.pack("<h", 8192))
        file.seek(len(header) + n_bytes - 2)
        file.write(struct.pack("<h", 16384))
    with Reader(path) as reader:
        assert next(reader.blocks())[:2].tolist() == [0.25, 0.0]
        assert not reader.truncated
    with open(path, "rb", buffering=0) as file:
        sound = wave_header.find_sound(file)
        assert sound.there == n_bytes and sound.is_longer
        mended = wave_header.MendedWave(file, sound)
        size = mended.seek(0, io.SEEK_END)
        mended.seek(-3, io.SEEK_CUR)
        assert mended.read(100) == b"\0\0\x40" and mended.tell() == size
        mended.seek(0)
        head = wave_header.find_sound(mended)
        assert head.length == head.there == n_bytes and not head.is_longer


def test_a_chain_of_chunks_without_end_is_given_up():
    chunks = b"junk\0\0\0\0" * 2000
    content = b"RIFF\xff\xff\xff\xffWAVE" + chunks + b"data\2\0\0\0\0\0"
    assert wave_header.find_sound(io.BytesIO(content)) is None
