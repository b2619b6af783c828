import numpy as np
import soundfile


def noise_bursts(seconds: float, sample_rate: int = 16_000, seed: int = 0):
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal(round(seconds * sample_rate)).astype(np.float32)
    time = np.arange(len(wave)) / sample_rate
    loud = (np.floor(time / 0.7).astype(int) * 7919 + seed) % 3 == 0
    return np.where(loud, 0.2 * wave, 0.001 * wave)


def write_sound(path, seconds=2.0, sample_rate=16_000, channels=1, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = noise_bursts(seconds, sample_rate, seed)
    soundfile.write(path, np.stack([wave] * channels, axis=1), sample_rate, **options)
    return path
