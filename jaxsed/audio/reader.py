"""Reading a sound file front to back with libsndfile, in mono blocks, errors named."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from jaxsed.audio import ogg_pages, wave_header
from jaxsed.errors import InputError

KINDS = ("missing", "undecodable", "empty", "non_finite")

# Decoding goes through blocks: headers may promise any length. libsndfile is asked for
# less at a time, because the piece in which a broken file ends is lost.
_BLOCK_FRAMES, _PIECE_FRAMES = 65_536, 4096
# On Windows descriptors belong to a C library, and libsndfile may be built with another
# (its documentation of sf_open_fd); elsewhere they are the fastest way.
_TAKES_DESCRIPTORS = os.name != "nt"
# Rates outside are broken headers; a rate of 1 Hz would blow up 16,000 times.
_SANE_RATES_HZ = (1_000, 1_000_000)
# Times full scale. Float files may hold integers of 32 bits, 2e9; float32 holds powers up
# to 3e38, and what is beyond becomes infinite in a spectrum.
_LOUDEST = 1e12


class AudioError(InputError):
    """A sound file cannot be used.

    Attributes:
      kind: `missing` (no such file, or not readable), `undecodable`, `empty` (no
        samples) or `non_finite` (NaN or infinite samples, or such as have no finite power).
    """

    def __init__(self, kind: str, message: str):
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return self.args[1]


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is only read on.

    soundfile seeks to where it is after every read. In mp3 libsndfile seeks by guess:
    the next block then repeats, skips or mutes some of the sound. It does not seek in
    what says that it cannot.
    """

    def seekable(self) -> bool:
        """Says no, see above."""
        return False


class Reader:
    """An open sound file that is read once, front to back, in mono blocks.

    A context manager.

    Attributes:
      name: What errors call it.
      sample_rate: Hz.
      channels: Number of channels in the file.
      truncated: Known after the last block: there was less than the header promised.
    """

    def __init__(self, source: str | Path | bytes, name: str | None = None):
        """Opens a path, or the bytes of a file.

        Raises:
          AudioError: `missing`, `empty` or `undecodable`.
        """
        self.name = display_name(source, name)
        self.truncated = False
        self._cleanup = contextlib.ExitStack()
        try:
            self._file = self._cleanup.enter_context(self._open(source))
            self._sound = self._cleanup.enter_context(self._open_sound(self._file))
        except BaseException:
            self._cleanup.close()
            raise
        self.sample_rate = self._sound.samplerate
        self.channels = self._sound.channels

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exception) -> None:
        self._cleanup.close()

    def _open(self, source):
        if isinstance(source, bytes | bytearray | memoryview):
            file, size = io.BytesIO(source), len(source)
        else:
            try:
                # Unbuffered: libsndfile shares the descriptor and its position.
                file = open(source, "rb", buffering=0)  # noqa: SIM115
                size = os.fstat(file.fileno()).st_size
            except (OSError, ValueError) as error:  # ValueError: NUL in the name
                reason = getattr(error, "strerror", None) or str(error)
                raise AudioError(
                    "missing", f"{self.name}: cannot be opened ({reason})"
                ) from error
        if not size:
            file.close()
            raise AudioError("empty", f"{self.name}: empty file (0 bytes)")
        return file

    def _open_sound(self, file) -> soundfile.SoundFile:
        try:
            self.truncated = ogg_pages.is_cut_off(file)
            wave = wave_header.find_sound(file)
            if wave is not None:
                self.truncated = wave.is_cut_off
                if wave.is_longer:
                    file = wave_header.MendedWave(file, wave)
            sound = self._open_whole(file)
            if sound.format in ("MP3", "MPEG"):
                audio_start = _untagged_mpeg_start(file)
                if audio_start is not None:
                    sound.close()
                    try:
                        sound = self._open_piped(file, audio_start)
                    except soundfile.SoundFileError:  # a scrap; as good as it gets
                        sound = self._open_whole(file)
        except soundfile.SoundFileError as error:
            self._check_readable(0)
            raise self._undecodable(error) from error
        except OSError as error:
            raise self._unreadable(0, error) from error
        low, high = _SANE_RATES_HZ
        if not low <= sound.samplerate <= high:
            sound.close()
            raise AudioError(
                "undecodable",
                f"{self.name}: sample rate {sound.samplerate} Hz, or a broken header; "
                f"expected {low} to {high} Hz",
            )
        return sound

    def _open_whole(self, file) -> soundfile.SoundFile:
        # Not by name: libsndfile then cannot be misled by an ending.
        file.seek(0)
        on_disk = _TAKES_DESCRIPTORS and isinstance(file, io.FileIO)
        return _ForwardSoundFile(file.fileno() if on_disk else file, closefd=False)

    def _open_piped(self, file, audio_start: int) -> soundfile.SoundFile:
        """Opens an MPEG stream as a pipe: read to its end, whatever its length."""
        file.seek(audio_start)
        read_end, write_end = os.pipe()
        feeder = threading.Thread(target=_feed, args=(file, write_end), daemon=True)
        feeder.start()
        with contextlib.ExitStack() as cleanup:
            # Undone in reverse: closing our end stops the feeder, then the file is free.
            cleanup.callback(feeder.join)
            cleanup.callback(os.close, read_end)
            sound = _ForwardSoundFile(read_end, closefd=False)
            self._cleanup.push(cleanup.pop_all())
        return sound

    def _undecodable(self, error: Exception) -> AudioError:
        reason = str(getattr(error, "error_string", "") or error).rstrip(". ")
        return AudioError(
            "undecodable",
            f"{self.name}: not a sound file libsndfile can decode ({reason})",
        )

    def _unreadable(self, n_read: int, error: OSError) -> AudioError:
        place = f" beyond {n_read / self.sample_rate:.2f} s" if n_read else ""
        reason = error.strerror or error
        return AudioError(
            "missing", f"{self.name}: cannot be read{place} ({reason}); try again"
        )

    def _check_readable(self, n_read: int) -> None:
        """Tells a disk or a network that has gone from the end of a file.

        To libsndfile both are the same.
        """
        try:
            self._file.read(1)
        except OSError as error:
            raise self._unreadable(n_read, error) from error

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the mean of the channels.

        Yields:
          float32 `[up to 65,536]`, at least one of them, all finite, and so is their power.

        Raises:
          AudioError: `undecodable`, `empty`, `non_finite` or `missing`; the last two
            after all that comes before.
        """
        promised = self._sound.frames
        n_read = 0
        ended = False
        while not ended:
            block = np.empty((_BLOCK_FRAMES, self.channels), np.float32)
            n = self._read_into(block, n_read)
            ended = n < _BLOCK_FRAMES
            mono = self._mono(block[:n])
            n_usable = _usable_start(mono)
            if n_usable:
                yield mono[:n_usable]
            n_read += n_usable
            if n_usable < n:
                finite = np.isfinite(mono[n_usable])
                what = f"samples of {mono[n_usable]:.3g}, where full scale is 1,"
                raise AudioError(
                    "non_finite",
                    f"{self.name}: {what if finite else 'NaN or infinite samples'} near "
                    f"{n_read / self.sample_rate:.2f} s",
                )
        self._check_readable(n_read)
        if not n_read:
            raise AudioError("empty", f"{self.name}: no samples in the file")
        # Streams promise the largest integer; that is no promise.
        self.truncated |= n_read < promised < 2**62

    def _read_into(self, block: np.ndarray, n_before: int) -> int:
        """Fills a block with samples; returns how many there were."""
        n = 0
        while n < len(block):
            piece = block[n : n + _PIECE_FRAMES]
            try:
                n_piece = self._sound.buffer_read_into(piece, "float32")
            except soundfile.SoundFileError as error:
                if not n_before + n:
                    self._check_readable(0)
                    raise self._undecodable(error) from error
                self.truncated = True
                break
            if not n_piece:
                break
            n += n_piece
        return n

    def _mono(self, block: np.ndarray) -> np.ndarray:
        if self.channels == 1:
            return block[:, 0]
        with np.errstate(all="ignore"):
            if self.channels > 2:
                return block.mean(axis=1)
            mono = block[:, 0] + block[:, 1]  # what `mean` gives, ten times as fast
            mono /= 2
            return mono


def _usable_start(wave: np.ndarray) -> int:
    """Returns how many samples come before the first that is NaN or beyond reason."""
    usable = np.abs(wave) <= _LOUDEST
    return len(wave) if usable.all() else int(usable.argmin())


def _untagged_mpeg_start(file) -> int | None:
    """Finds where the audio of an MPEG stream without a length tag starts.

    libsndfile reads no further than the length it finds in the tag or, without one,
    estimates from the bit rate of the first frame. With a variable bit rate the
    estimate is off by any factor, and the rest of the sound is silently lost.

    Returns:
      The byte where the audio starts, or None if there is a length tag.
    """
    position = file.tell()  # libsndfile's too
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        size = 0
        for byte in head[6:10]:  # ID3v2.4, section 6.2: four times seven bits
            size = size << 7 | byte & 0x7F
        start = 10 + size
    file.seek(start)
    first_frame = file.read(2048)
    file.seek(position)
    tagged = any(tag in first_frame for tag in (b"Xing", b"Info", b"VBRI"))
    return None if tagged else start


def _feed(file, write_end: int) -> None:
    # The reader may close its end at any moment: a broken pipe, or a closed file here.
    with (
        contextlib.suppress(OSError, ValueError),
        os.fdopen(write_end, "wb", 0) as pipe,
    ):
        while piece := file.read(1 << 16):
            pipe.write(piece)


def display_name(source: str | Path | bytes, name: str | None) -> str:
    """Returns what to call a sound in errors: `name` if given, else its path."""
    if name is not None:
        return name
    in_memory = isinstance(source, bytes | bytearray | memoryview)
    return "sound in memory" if in_memory else str(source)
