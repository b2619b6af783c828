"""Sound files to mono float32, by libsndfile: wav, flac, ogg, opus, mp3, aiff and more.

Whatever is wrong with a file comes out as an `AudioError` that names it. A file that
was cut off gives the samples it still has. The format is read from the content, never
from the file name.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxsed.audio.reader import AudioError, Reader, display_name
from jaxsed.audio.resample import StreamResampler, resample
from jaxsed.errors import InputError


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
    with Reader(source, name) as reader:
        samples = np.concatenate(list(reader.blocks()))
    return Decoded(samples, reader.sample_rate, reader.channels, reader.truncated)


class Measured(NamedTuple):
    """What a sound file holds.

    Attributes:
      seconds: Its length.
      peak: The highest absolute value of the mean of the channels; full scale is 1.
      sample_rate: Hz.
      channels: In the file.
      truncated: The file holds less than its header promises.
    """

    seconds: float
    peak: float
    sample_rate: int
    channels: int
    truncated: bool


def measure(source: str | Path | bytes, name: str | None = None) -> Measured:
    """Decodes a whole sound file, in bounded memory, to see what it holds.

    Args:
      source: A path, or the bytes of a file.
      name: What to call it in errors; by default its path.

    Raises:
      AudioError: See `AudioError.kind`.
    """
    n_samples, peak = 0, 0.0
    with Reader(source, name) as reader:
        for block in reader.blocks():
            n_samples += len(block)
            peak = max(peak, float(np.abs(block).max()))
    rate = reader.sample_rate
    return Measured(n_samples / rate, peak, rate, reader.channels, reader.truncated)


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
        raise _too_short(display_name(source, name))
    return wave


def stream_mono(
    path: str | Path,
    sample_rate: int,
    block_seconds: float = 10.0,
    on_truncated: Callable[[], object] | None = None,
) -> Iterator[np.ndarray]:
    """Decodes a sound file of any length in bounded memory.

    Args:
      path: The file.
      sample_rate: Wanted rate, Hz.
      block_seconds: Length of a block.
      on_truncated: Called at the end if the file held less than its header promises.

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
    return _stream(path, sample_rate, block_samples, on_truncated)


def _stream(
    path, sample_rate: int, block_samples: int, on_truncated
) -> Iterator[np.ndarray]:
    with Reader(path) as reader:
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
        if reader.truncated and on_truncated is not None:
            on_truncated()


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
    scaled = np.multiply(wave, 32768.0)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype(np.int16)


def _too_short(name: str) -> AudioError:
    return AudioError("empty", f"{name}: too short, no sample left after resampling")
