"""Short-time Fourier transform: windows, framing and power spectra.

Everything is shape-static, works in the precision of its input (float32, or
float64 where JAX has it enabled) and, for clips of one length, uses neither gathers nor
Python loops over frames, so that it runs inside the training step on any backend.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxsed.errors import InputError


def hann(window_samples: int, periodic: bool) -> np.ndarray:
    """Hann window in float64.

    Args:
        window_samples: Length of the window.
        periodic: Whether the zero at the end is left out, so that windows in a row
            make a period each; else the window is symmetric.

    Returns:
        `[window_samples]`.
    """
    period = window_samples if periodic else window_samples - 1
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_samples) / period)


@functools.cache
def hann_window(
    window_samples: int, fft_samples: int, periodic: bool = True
) -> np.ndarray:
    """Hann window, centred in the FFT length with zeros on both sides.

    Args:
        window_samples: Length of the window itself.
        fft_samples: Length of the FFT, at least `window_samples`.
        periodic: See `hann`.

    Returns:
        float32 `[fft_samples]`, rounded as the checkpoints' own windows were.
    """
    before = (fft_samples - window_samples) // 2
    after = fft_samples - window_samples - before
    window = np.pad(hann(window_samples, periodic), (before, after)).astype(np.float32)
    window.setflags(write=False)  # shared by every caller
    return window


def pad_centered(
    wave: jax.Array, frame_samples: int, n_samples: jax.Array | None = None
) -> jax.Array:
    """Mirrors half a frame at both ends, so that frame k is centred on sample k * hop.

    Clips shorter than half a frame are mirrored to and fro.

    Args:
        wave: `[b, n]`.
        frame_samples: Length of a frame.
        n_samples: int `[b]`, where each clip ends, at least 1; None for the ends of
            `wave`. Samples behind it are not read: the mirroring goes on. Costs a
            gather.

    Returns:
        `[b, n + 2 * (frame_samples // 2)]`.

    Raises:
        InputError: If the clips have no sample.
    """
    if wave.ndim != 2 or wave.shape[1] == 0:
        raise InputError(
            f"A batch of clips has shape {wave.shape}; expected [clips, samples] with "
            "at least one sample. Leave empty clips out."
        )
    half = frame_samples // 2
    if n_samples is None:
        return jnp.pad(wave, ((0, 0), (half, half)), mode="reflect")
    period = jnp.maximum(2 * (n_samples[:, None] - 1), 1)
    position = jnp.arange(-half, wave.shape[1] + half) % period
    sample = jnp.minimum(position, period - position)
    return jnp.take_along_axis(wave, sample, axis=1, mode="clip")


def silence_after(wave: jax.Array, n_samples: jax.Array | None) -> jax.Array:
    """Sets `wave [b, n]` to zero after each clip's `n_samples [b]`; None for nowhere."""
    if n_samples is None:
        return wave
    return jnp.where(jnp.arange(wave.shape[1]) < n_samples[:, None], wave, 0)


def frame(wave: jax.Array, frame_samples: int, hop_samples: int) -> jax.Array:
    """Cuts overlapping frames.

    A frame is put together from whole hops of the reshaped signal and one remainder:
    slices and one concatenation. A gather of `[t, frame_samples]` indices says the
    same, but costs accelerators as much as a third of the front-end.

    Args:
        wave: `[b, n]`, n at least `frame_samples`.
        frame_samples: Length of a frame.
        hop_samples: Distance between the starts of two frames.

    Returns:
        `[b, t, frame_samples]` with `t = 1 + (n - frame_samples) // hop_samples`.
    """
    n_clips, n_samples = wave.shape
    n_frames = 1 + (n_samples - frame_samples) // hop_samples
    n_hops = -(-frame_samples // hop_samples)  # hops that a frame reaches into
    needed = (n_frames + n_hops - 1) * hop_samples
    wave = jnp.pad(wave, ((0, 0), (0, max(0, needed - n_samples))))[:, :needed]
    hops = wave.reshape(n_clips, -1, hop_samples)
    pieces = [hops[:, k : k + n_frames] for k in range(n_hops)]
    remainder = frame_samples - (n_hops - 1) * hop_samples
    pieces[-1] = pieces[-1][..., :remainder]
    return jnp.concatenate(pieces, axis=-1)


def windowed_sines(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the windowed DFT as matrices.

    Args:
        window: `[fft_samples]`, in the type that it is multiplied in.

    Returns:
        Cosines and sines, float32 `[fft_samples, fft_samples // 2 + 1]`: for a float32
        window rounded before and after the product (nnAudio), for a float64 window
        only after it (torchlibrosa).
    """
    cosines, sines = (
        (matrix.astype(window.dtype) * window[:, None]).astype(np.float32)
        for matrix in _sines(len(window))
    )
    return cosines, sines


def _sines(fft_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of the DFT, float64 `[fft_samples, bins]`."""
    sample = np.arange(fft_samples)[:, None]
    # Multiplied in this order nnAudio's numbers come out to the last bit.
    phase = 2 * np.pi * np.arange(fft_samples // 2 + 1) * sample / fft_samples
    return np.cos(phase), np.sin(phase)


def power_spectrum(
    frames: jax.Array, window: np.ndarray, rounded_sines: bool = False
) -> jax.Array:
    """Squared magnitude of the windowed DFT of real frames.

    The one place that knows how the transform is computed: by FFT, and on TPUs, which
    multiply matrices ten times as fast as they do FFTs, by `matrix_power_spectrum`.

    Args:
        frames: `[b, t, fft_samples]`.
        window: `[fft_samples]`.
        rounded_sines: Whether the transform is the product with `windowed_sines`, as
            in networks that compute it by convolution, instead of the FFT.
            Bins 70 dB below the loudest of their frame notice the sines' rounding.
            For even FFT lengths and windows symmetric about `fft_samples / 2`.

    Returns:
        `[b, t, fft_samples // 2 + 1]`.
    """

    def plain(frames):
        transform = _rounded_transform(len(window)) if rounded_sines else _fft
        real, imaginary = transform(frames, window)
        return jnp.square(real) + jnp.square(imaginary)

    def by_matrix(frames):
        return matrix_power_spectrum(frames, window, rounded_sines)

    return jax.lax.platform_dependent(frames, tpu=by_matrix, default=plain)


def matrix_power_spectrum(
    frames: jax.Array, window: np.ndarray, rounded_sines: bool = False
) -> jax.Array:
    """`power_spectrum` by one matrix product, as precise as the FFT.

    With `Precision.HIGHEST` a TPU puts a float32 product together from six bfloat16
    ones; from three, bins 60 dB below the loudest are off by 30 times as much as the
    FFT's. The compiler cuts the frames while it multiplies: they are never in memory.
    """
    if rounded_sines:
        matrix = np.concatenate(windowed_sines(window), axis=1)
    else:
        exact = np.asarray(window, np.float64)[:, None]
        matrix = np.concatenate(_sines(len(window)), axis=1) * exact
    heard = np.flatnonzero(window)  # windows may be shorter than the FFT
    heard = slice(heard[0], heard[-1] + 1)
    both = jnp.matmul(
        frames[..., heard],
        jnp.asarray(matrix[heard], frames.dtype),
        precision=jax.lax.Precision.HIGHEST,
    )
    real, imaginary = jnp.split(jnp.square(both), 2, axis=-1)
    return real + imaginary


def _fft(frames: jax.Array, window: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The sums of `frames [b, t, n]` with cosines and with sines, `[b, t, bins]`."""
    spectrum = jnp.fft.rfft(frames * jnp.asarray(window, frames.dtype))
    return spectrum.real, -spectrum.imag


def _rounded_transform(fft_samples: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The more precise way to multiply by `windowed_sines` in float32.

    Against float64, HTS-AT's sums of 1024 terms are off by up to 8e-5 dB one after the
    other and 6e-5 by FFT, and only the FFT's do not depend on how many frames there
    are. FFTs of other lengths lose more: for M2D's 400 the sums are twice as precise.
    """
    power_of_two = fft_samples & (fft_samples - 1) == 0
    return _corrected_fft if power_of_two else _folded_dft


def _folded_dft(frames: jax.Array, window: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The product with `windowed_sines`, one term after the other."""
    cosines, sines = (
        jnp.asarray(matrix, frames.dtype) for matrix in windowed_sines(window)
    )
    return _folded_product(frames, cosines, sines, jax.lax.Precision.HIGHEST)


def _corrected_fft(
    frames: jax.Array, window: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """The product with `windowed_sines` as the FFT and what rounding them changes.

    That is smaller by seven digits, so that any accelerator's fastest arithmetic is
    precise enough.
    """
    real, imaginary = _fft(frames, window)
    exact = np.asarray(np.asarray(window, frames.dtype), np.float64)[:, None]
    changed = (
        jnp.asarray(rounded - matrix * exact, frames.dtype)
        for rounded, matrix in zip(windowed_sines(window), _sines(len(window)))
    )
    of_real, of_imaginary = _folded_product(frames, *changed)
    return real + of_real, imaginary + of_imaginary


def _folded_product(
    frames: jax.Array,
    cosines: jax.Array,
    sines: jax.Array,
    precision: jax.lax.Precision = jax.lax.Precision.DEFAULT,
) -> tuple[jax.Array, jax.Array]:
    # Sample k and sample -k meet the same cosine and opposite sines. Adding them first
    # halves the multiplications and, in float32, the rounding error of quiet bins.
    half = cosines.shape[0] // 2
    left, right = frames[..., 1:half], frames[..., :half:-1]
    even = jnp.concatenate(
        [frames[..., :1], left + right, frames[..., half : half + 1]], axis=-1
    )
    return (
        jnp.matmul(even, cosines[: half + 1], precision=precision),
        jnp.matmul(left - right, sines[1:half], precision=precision),
    )
