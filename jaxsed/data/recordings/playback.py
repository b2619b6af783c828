"""From a recording to one event: speed, runs of strokes, loops, where it is audible."""

import functools

import numpy as np
import soxr

from jaxsed.data.recordings.table import SAMPLE_RATE, Recording, read_audio

# Speed and pitch vary together, as on a tape: one per cent steps, at most a semitone.
SPEED_STEPS = tuple(range(-6, 7))
ACTIVE_DROP_DB = 25.0  # an event lasts while it is within 25 dB of its loudest moment
BLOCK_SECONDS = 0.005  # resolution of the onsets and offsets
FADE_IN_SECONDS = 0.001  # keeps the attack of a stroke
FADE_OUT_SECONDS = 0.005  # one block: the offset stays where it was
EXCERPT_FADE_SECONDS = 0.02
MIN_EVENT_SECONDS = 0.2
MAX_EVENT_SECONDS = 4.0
MAX_STROKES = 8
MAX_PAUSE_SECONDS = 0.2  # between strokes; longer ones would be heard as two events
STROKE_GAIN_DB = 6.0  # spread of loudness within a run
MIN_EXCERPT_SECONDS = 0.8
LOOP_CROSSFADE_SECONDS = 0.1


def active_part(wave: np.ndarray) -> tuple[int, int]:
    """Where a sound really begins and ends.

    Args:
        wave: float [n], not silent.

    Returns:
        First sample and one past the last sample of the span between the first and
        the last 5 ms block within 25 dB of the loudest block.
    """
    block = round(BLOCK_SECONDS * SAMPLE_RATE)
    n_blocks = -(-len(wave) // block)
    padded = np.zeros(n_blocks * block, np.float32)
    padded[: len(wave)] = wave
    power = np.mean(padded.reshape(n_blocks, block) ** 2, axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-ACTIVE_DROP_DB / 10))
    return int(loud[0]) * block, min(len(wave), (int(loud[-1]) + 1) * block)


def faded(wave: np.ndarray, fade_in: float, fade_out: float) -> np.ndarray:
    """A copy of [n] with linear ramps of these lengths in seconds at its ends."""
    wave = np.array(wave, np.float32)
    n_in = min(len(wave) // 2, round(fade_in * SAMPLE_RATE))
    n_out = min(len(wave) // 2, round(fade_out * SAMPLE_RATE))
    wave[:n_in] *= np.linspace(0, 1, n_in, endpoint=False, dtype=np.float32)
    wave[len(wave) - n_out :] *= np.linspace(1, 0, n_out, dtype=np.float32)
    return wave


def loop(wave: np.ndarray, n_samples: int, start: int) -> np.ndarray:
    """Repeats a sound seamlessly.

    Args:
        wave: float32 [n].
        n_samples: length wanted.
        start: sample of the looped sound to begin at.

    Returns:
        float32 [n_samples]; the end of each pass is cross-faded with the start of the
        next at equal power.
    """
    n_fade = min(round(LOOP_CROSSFADE_SECONDS * SAMPLE_RATE), len(wave) // 3)
    angle = np.linspace(0, np.pi / 2, n_fade, dtype=np.float32)
    seam = wave[-n_fade:] * np.cos(angle) + wave[:n_fade] * np.sin(angle)
    period = np.concatenate([seam, wave[n_fade:-n_fade]])
    return np.take(period, np.arange(start, start + n_samples), mode="wrap")


@functools.lru_cache(maxsize=512)
def at_speed(file: str, percent: int) -> np.ndarray:
    """A recording played `percent` faster and higher: float32 [n], read-only."""
    wave = read_audio(file)
    if percent:
        wave = soxr.resample(wave, SAMPLE_RATE * (100 + percent) / 100, SAMPLE_RATE)
        wave.flags.writeable = False
    return wave


def _run_of_strokes(rng: np.random.Generator, stroke: np.ndarray) -> np.ndarray:
    length = len(stroke) / SAMPLE_RATE
    period = max(0.08, length * rng.uniform(0.6, 1.0)) + rng.uniform(
        0, MAX_PAUSE_SECONDS
    )
    most = int(np.clip((MAX_EVENT_SECONDS - length) / period + 1, 1, MAX_STROKES))
    fewest = min(most, 1 + int(np.ceil(max(0, MIN_EVENT_SECONDS - length) / period)))
    count = int(rng.integers(fewest, most + 1))
    jitter = rng.uniform(-0.08, 0.08, count) * period
    starts = np.arange(count) * period + jitter
    starts = np.round((starts - starts[0]) * SAMPLE_RATE).astype(int)
    gains = 10 ** (rng.uniform(-STROKE_GAIN_DB, 0, count) / 20)
    run = np.zeros(starts.max() + len(stroke), np.float32)
    for start, gain in zip(starts, gains):
        run[start : start + len(stroke)] += np.float32(gain) * stroke
    return run


def _excerpt(rng: np.random.Generator, wave: np.ndarray) -> np.ndarray:
    seconds = rng.uniform(MIN_EXCERPT_SECONDS, MAX_EVENT_SECONDS)
    n_samples = round(seconds * SAMPLE_RATE)
    if len(wave) < n_samples:
        return loop(wave, n_samples, int(rng.integers(len(wave))))
    first = int(rng.integers(len(wave) - n_samples + 1))
    return wave[first : first + n_samples]


def play(rng: np.random.Generator, recording: Recording) -> np.ndarray:
    """Makes one event of a recording.

    Args:
        rng: source of every random choice: speed, strokes, part.
        recording: a row with role `event`.

    Returns:
        float32 [n] at 16 kHz that begins and ends where the sound does (see
        `active_part`), mostly 0.2 to 4 s long.
    """
    wave = at_speed(recording.file, int(rng.choice(SPEED_STEPS)))
    if recording.play == "strokes":
        first, last = active_part(wave)
        stroke = faded(wave[first:last], FADE_IN_SECONDS, FADE_OUT_SECONDS)
        wave = _run_of_strokes(rng, stroke)
    elif recording.play == "excerpt":
        wave = faded(_excerpt(rng, wave), EXCERPT_FADE_SECONDS, EXCERPT_FADE_SECONDS)
    first, last = active_part(wave)
    return faded(wave[first:last], FADE_IN_SECONDS, FADE_OUT_SECONDS)
