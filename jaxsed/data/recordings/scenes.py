"""One 10 s scene: up to five events of known times over an ambience."""

import base64
import hashlib
from dataclasses import dataclass

import numpy as np

from jaxsed.data.recordings import table
from jaxsed.data.recordings.playback import active_part, loop, play

SAMPLE_RATE = table.SAMPLE_RATE
CLIP_SECONDS = 10.0
CLIP_SAMPLES = round(CLIP_SECONDS * SAMPLE_RATE)

EVENT_COUNT_WEIGHTS = (0.2, 0.25, 0.25, 0.2, 0.1)  # of 1 to 5 events
SNR_DB = (0.0, 25.0)  # RMS of an event from onset to offset over the background's
BACKGROUND_DB = (-50.0, -32.0)  # RMS under full scale
NOISE_UNDER_AMBIENCE_DB = (6.0, 25.0)
NOISE_SLOPE_DB_PER_OCTAVE = (-6.0, 0.0)  # brown to white
PEAK = 0.95  # a scene that would clip is scaled down as a whole
MIN_VISIBLE_SECONDS = 0.1
MIN_GAP_SECONDS = 0.25  # between two events of one class: never overlapping or touching
PLACEMENT_TRIES = 10
# Class k of the table (k = 1, 2, ...) is drawn with probability proportional to
# k**-exponent. With train's, active times differ by a factor well over 30.
FREQUENCY_EXPONENT = {"train": 1.0, "eval": 0.4}


@dataclass(frozen=True)
class SceneEvent:
    """One true event.

    Attributes:
        onset: seconds from the start of the scene.
        offset: seconds; at most 10.
        mid: AudioSet class id.
        display_name: AudioSet class name.
        file: the recording it was made of.
        snr_db: RMS between onset and offset over the RMS of the background.
    """

    onset: float
    offset: float
    mid: str
    display_name: str
    file: str
    snr_db: float


@dataclass(frozen=True)
class Scene:
    """A mixed scene and what it was mixed from.

    Attributes:
        segment_id: as in AudioSet: 11 characters, `_`, start in milliseconds.
        wave: int16 [160000] at 16 kHz.
        events: in the order of their onsets.
        background: float32 [160000]; with `stems` it adds up to the wave.
        stems: float32 [events, 160000], each silent outside its event.
    """

    segment_id: str
    wave: np.ndarray
    events: tuple[SceneEvent, ...]
    background: np.ndarray
    stems: np.ndarray


def segment_id(seed: int, split: str, index: int) -> str:
    """A made-up AudioSet segment id, such as `aB3dE6gH9-__30000`.

    Some video ids begin with `-` (an option to careless shells) or end in `m`, `p` or
    `3`, which the released training code strips together with `.mp3`: as real ones do.
    """
    digest = hashlib.sha256(f"{seed}/{split}/{index}".encode()).digest()
    video = base64.urlsafe_b64encode(digest).decode()[:11]
    if index % 5 == 4:
        trap = index // 5 % 4
        video = "-" + video[1:] if trap == 3 else video[:-1] + "mp3"[trap]
    return f"{video}_{digest[-1] % 30 * 10_000}"


def _background(rng: np.random.Generator, split: str) -> np.ndarray:
    """A looped ambience over faint coloured noise, float32 [160000]."""
    choices = table.backgrounds(split)
    wave = table.read_audio(choices[rng.integers(len(choices))].file)
    wave = loop(wave, CLIP_SAMPLES, int(rng.integers(len(wave))))
    spectrum = np.fft.rfft(rng.standard_normal(CLIP_SAMPLES, dtype=np.float32))
    octaves = np.log2(np.maximum(np.arange(len(spectrum)), 20 * CLIP_SECONDS))
    gain_db = rng.uniform(*NOISE_SLOPE_DB_PER_OCTAVE) * (octaves - octaves[0])
    noise = np.fft.irfft(spectrum * 10 ** (gain_db / 20), CLIP_SAMPLES)
    noise_db = -rng.uniform(*NOISE_UNDER_AMBIENCE_DB)
    wave = wave / _rms(wave) + noise * (10 ** (noise_db / 20) / _rms(noise))
    level = 10 ** (rng.uniform(*BACKGROUND_DB) / 20)
    return (wave * (level / _rms(wave))).astype(np.float32)


def _rms(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))


def _visible(rng: np.random.Generator, wave: np.ndarray) -> tuple[int, np.ndarray]:
    """Puts an event somewhere; up to 30 % of it may lie outside the clip."""
    start = round(rng.uniform(-0.3 * len(wave), CLIP_SAMPLES - 0.7 * len(wave)))
    wave = wave[max(0, -start) : CLIP_SAMPLES - start]
    first, last = active_part(wave)  # a cut may have left a pause at the border
    return max(0, start) + first, wave[first:last]


def _draw_events(
    rng: np.random.Generator, split: str
) -> list[tuple[SceneEvent, int, np.ndarray]]:
    """Events in time order: (SceneEvent, first sample, float32 [n])."""
    drawn = []
    classes = table.events_by_class(split)
    mids, names = list(classes), table.display_names()
    weights = np.arange(1, len(mids) + 1) ** -FREQUENCY_EXPONENT[split]
    taken: dict[str, list[tuple[int, int]]] = {mid: [] for mid in mids}
    gap = round(MIN_GAP_SECONDS * SAMPLE_RATE)
    count = 1 + rng.choice(len(EVENT_COUNT_WEIGHTS), p=EVENT_COUNT_WEIGHTS)
    for _ in range(count):
        mid = mids[rng.choice(len(mids), p=weights / weights.sum())]
        recording = classes[mid][rng.integers(len(classes[mid]))]
        whole = play(rng, recording)
        for _ in range(PLACEMENT_TRIES):
            start, wave = _visible(rng, whole)
            stop = start + len(wave)
            room = all(stop + gap < a or start > b + gap for a, b in taken[mid])
            if room and len(wave) >= min(len(whole), MIN_VISIBLE_SECONDS * SAMPLE_RATE):
                break
        else:
            continue  # the clip is full of this class
        taken[mid].append((start, stop))
        snr_db = rng.uniform(*SNR_DB)
        wave = wave * np.float32(10 ** (snr_db / 20) / _rms(wave))
        onset, offset = (round(x / SAMPLE_RATE, 3) for x in (start, stop))
        event = SceneEvent(onset, offset, mid, names[mid], recording.file, snr_db)
        drawn.append((event, start, wave))
    return sorted(drawn, key=lambda item: item[1])


def render_scene(seed: int, split: str, index: int) -> Scene:
    """Mixes one scene; it depends on these three alone.

    Args:
        seed: of the data set, 0 or more.
        split: `train` or `eval`: which recordings may be heard.
        index: number of the scene in the split.

    Returns:
        The scene with its truth and its parts.
    """
    background = _background(_generator(seed, split, index, "background"), split)
    drawn = _draw_events(_generator(seed, split, index, "events"), split)
    level = np.float32(_rms(background))
    stems = np.zeros((len(drawn), CLIP_SAMPLES), np.float32)
    for stem, (_, start, wave) in zip(stems, drawn):
        stem[start : start + len(wave)] = wave * level
    mix = background + stems.sum(axis=0)
    gain = np.float32(min(1.0, PEAK / np.abs(mix).max()))
    return Scene(
        segment_id=segment_id(seed, split, index),
        wave=np.round(mix * gain * 32767).astype(np.int16),
        events=tuple(event for event, _, _ in drawn),
        background=background * gain,
        stems=stems * gain,
    )


def scene_events(seed: int, split: str, index: int) -> tuple[SceneEvent, ...]:
    """The truth of one scene, for pictures and checks: no need to mix it."""
    drawn = _draw_events(_generator(seed, split, index, "events"), split)
    return tuple(event for event, _, _ in drawn)


def _generator(seed: int, split: str, index: int, part: str) -> np.random.Generator:
    parts = ("background", "events")
    return np.random.default_rng(
        [seed, table.SPLITS.index(split), index, parts.index(part)]
    )
