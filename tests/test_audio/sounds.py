"""Sound files in memory, for the tests of reading them."""

import io

import numpy as np
import soundfile

FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "float.wav": {"format": "WAV", "subtype": "FLOAT"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


def tone(seconds=1.0, rate=48_000, hz=440.0):
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def encoded(wave, rate=48_000, **options):
    file = io.BytesIO()
    soundfile.write(file, wave, rate, **options)
    return file.getvalue()
