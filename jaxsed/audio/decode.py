"""Sound files to mono float32, by libsndfile: wav, flac, ogg, opus, mp3, aiff and more.

Whatever is wrong with a file comes out as an `AudioError` that names it. A file that
was cut off gives the samples it still has. The format is read from the content, never
from the file name.
"""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from jaxsed.audio.resample import StreamResampler, resample
from jaxsed.errors import InputError

KINDS = ("missing", "undecodable", "empty", "non_finite")

# Decoding goes through blocks: headers may promise any length. Small, because the block
# in which a broken file ends is lost.
_BLOCK_FRAMES = 4096
# Rates outside are broken headers; a rate of 1 Hz would blow up 16,000 times.
_SANE_RATES_HZ = (1_000, 1_000_000)


class AudioError(InputError):
    """A sound file cannot be used.

    Attributes:
      kind: `missing` (no such file, or not readable), `undecodable`, `empty` (no
        samples) or `non_finite` (NaN or infinite samples).
    """

    def __init__(self, kind: str, message: str):
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return self.args[1]


class Decoded(NamedTuple):
    """A decoded sound file.

    Attributes:
      samples: float32 `[n]`, the mean of the channels, at the file's own rate. Full
        scale is 1; float files may exceed it.
      sample_rate: Hz.
      channels: In the file.
      truncated: The file holds less than its header promises.
    """

    samples: np.ndarray
    sample_rate: int
    channels: int
    truncated: bool


def decode(source: str | Path | bytes, name: str | None = None) -> Decoded:
    """Decodes a whole sound file at its own sample rate.

    Args:
      source: A path, or the bytes of a file.
      name: What to call it in errors; by default its path.

    Raises:
      AudioError: See `AudioError.kind`.
    """
    with _Reader(source, name) as reader:
        samples = np.concatenate(list(reader.blocks()))
    return Decoded(samples, reader.sample_rate, reader.channels, reader.truncated)


def load_mono(
    source: str | Path | bytes, sample_rate: int, name: str | None = None
) -> np.ndarray:
    """Decodes a whole sound file to mono at a given rate.

    Args:
      source: A path, or the bytes of a file.
      sample_rate: Wanted rate, Hz.
      name: What to call the file in errors; by default its path.

    Returns:
      float32 `[n]`, n > 0: the mean of the channels, resampled. Full scale is 1; what
      lies beyond in a float file stays (`to_int16` clips).

    Raises:
      AudioError: See `AudioError.kind`.
    """
    decoded = decode(source, name)
    wave = resample(decoded.samples, decoded.sample_rate, sample_rate)
    if not wave.size:
        raise _too_short(_display_name(source, name))
    return wave


def stream_mono(
    path: str | Path, sample_rate: int, block_seconds: float = 10.0
) -> Iterator[np.ndarray]:
    """Decodes a sound file of any length in bounded memory.

    Args:
      path: The file.
      sample_rate: Wanted rate, Hz.
      block_seconds: Length of a block.

    Yields:
      float32 `[round(block_seconds * sample_rate)]`, the last one shorter but never
      empty. Joined they are what `load_mono` returns.

    Raises:
      AudioError: While iterating, see `AudioError.kind`; `non_finite` may come after
        good blocks.
      InputError: A block shorter than a sample.
    """
    block_samples = round(block_seconds * sample_rate)
    if block_samples < 1:
        raise InputError(
            f"block_seconds={block_seconds!r} is shorter than a sample; use e.g. 10"
        )
    return _stream(path, sample_rate, block_samples)


def _stream(path, sample_rate: int, block_samples: int) -> Iterator[np.ndarray]:
    with _Reader(path) as reader:
        resampler = StreamResampler(reader.sample_rate, sample_rate)
        pending: list[np.ndarray] = []
        n_pending = 0
        n_yielded = 0
        for piece in _then(map(resampler.push, reader.blocks()), resampler.finish):
            pending.append(piece)
            n_pending += piece.size
            if n_pending < block_samples:
                continue
            joined = np.concatenate(pending)
            whole = n_pending - n_pending % block_samples
            for start in range(0, whole, block_samples):
                yield joined[start : start + block_samples]
            n_yielded += whole
            pending, n_pending = [joined[whole:]], n_pending - whole
        if n_pending:
            yield np.concatenate(pending)
        elif not n_yielded:
            raise _too_short(reader.name)


def _then(pieces: Iterator, last) -> Iterator:
    yield from pieces
    yield last()


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Converts float samples to 16 bit; what exceeds full scale is clipped.

    The scale is 2^15, libsndfile's own, so that 16-bit files survive the round trip
    `load_mono(...) -> to_int16 -> / 32768` bit by bit.

    Args:
      wave: float `[...]`, full scale 1, finite.

    Returns:
      int16 `[...]`.
    """
    return np.clip(np.rint(wave * 32768.0), -32768, 32767).astype(np.int16)


class _ForwardSoundFile(soundfile.SoundFile):
    """A sound file that is only read on.

    soundfile seeks to where it is after every read. In mp3 libsndfile seeks by guess:
    the next block then repeats, skips or mutes some of the sound. It does not seek in
    what says that it cannot.
    """

    def seekable(self) -> bool:
        return False


class _Reader:
    """An open sound file that is read once, front to back, in mono blocks."""

    def __init__(self, source: str | Path | bytes, name: str | None = None):
        self.name = _display_name(source, name)
        self.truncated = False
        self._cleanup = contextlib.ExitStack()
        try:
            file = self._cleanup.enter_context(self._open(source))
            self._sound = self._cleanup.enter_context(self._open_sound(file))
        except BaseException:
            self._cleanup.close()
            raise
        self.sample_rate = self._sound.samplerate
        self.channels = self._sound.channels

    def __enter__(self) -> "_Reader":
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
            sound = self._open_whole(file)
            if sound.format in ("MP3", "MPEG"):
                audio_start = _untagged_mpeg_start(file)
                if audio_start is not None:
                    sound.close()
                    try:
                        sound = self._open_piped(file, audio_start)
                    except soundfile.SoundFileError:  # a scrap; as good as it gets
                        sound = self._open_whole(file)
        except (soundfile.SoundFileError, OSError) as error:
            raise self._undecodable(error) from error
        low, high = _SANE_RATES_HZ
        if not low <= sound.samplerate <= high:
            sound.close()
            raise AudioError(
                "undecodable",
                f"{self.name}: broken header, sample rate {sound.samplerate} Hz",
            )
        return sound

    def _open_whole(self, file) -> soundfile.SoundFile:
        # By descriptor, not by name: libsndfile then cannot be misled by an ending.
        file.seek(0)
        on_disk = not isinstance(file, io.BytesIO)
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

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields float32 `[up to 4096]`, at least one of them, all finite."""
        promised = self._sound.frames
        n_read = 0
        while True:
            block = np.empty((_BLOCK_FRAMES, self.channels), np.float32)
            try:
                n = self._sound.buffer_read_into(block, "float32")
            except soundfile.SoundFileError as error:
                if not n_read:
                    raise self._undecodable(error) from error
                self.truncated = True
                return
            if not n:
                break
            n_read += n
            with np.errstate(all="ignore"):
                mono = block[:n].mean(axis=1)
            if not np.isfinite(mono).all():
                raise AudioError(
                    "non_finite",
                    f"{self.name}: NaN or infinite samples near "
                    f"{(n_read - n) / self.sample_rate:.2f} s",
                )
            yield mono
        if not n_read:
            raise AudioError("empty", f"{self.name}: no samples in the file")
        # Streams promise the largest integer; that is no promise.
        self.truncated = n_read < promised < 2**62


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


def _display_name(source, name: str | None) -> str:
    if name is not None:
        return name
    in_memory = isinstance(source, bytes | bytearray | memoryview)
    return "sound in memory" if in_memory else str(source)


def _too_short(name: str) -> AudioError:
    return AudioError("empty", f"{name}: too short, no sample left after resampling")
