"""The clip that the goldens of AST, SSAST, HTS-AT and compression were computed from."""

import numpy as np


def clip(seconds, sample_rate, seed):
    """Mono, int16: gliding tones with tremolo, a buzz in bursts, decaying noise."""
    n = round(seconds * sample_rate)
    t = np.arange(n, dtype=np.float64) / sample_rate
    f0 = 180.0 + 40.0 * seed
    tremolo = 0.6 + 0.4 * np.sin(2 * np.pi * 1.7 * t + seed)
    x = 0.22 * np.sin(2 * np.pi * (f0 * t + 35.0 * t * t)) * tremolo
    x += 0.12 * np.sin(2 * np.pi * ((2900.0 - 90.0 * seed) * t - 110.0 * t * t))
    gate = (np.sin(2 * np.pi * 0.45 * t + 0.3 * seed) > 0.35).astype(np.float64)
    for h in range(1, 9):
        buzz = np.sin(2 * np.pi * h * (140.0 + 11.0 * seed) * t + 0.5 * h)
        x += gate * (0.10 / h) * buzz
    noise = np.random.default_rng([seed, sample_rate, n]).standard_normal(n)
    x += (0.004 + 0.05 * np.exp(-((t * 0.9) % 2.5) * 2.0)) * noise
    return np.clip(np.rint(x * 20000.0), -32768, 32767).astype(np.int16)


def waveform(seconds, sample_rate, seed):
    """The same clip as float32 in [-1, 1)."""
    return clip(seconds, sample_rate, seed).astype(np.float32) / np.float32(32768.0)
