"""Batches computed ahead: every format, and what a clip that fails says.

What iterators of training and evaluation promise is tested in test_pipelines.
"""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from jaxsed.data.pipelines import evaluation_batches, training_batches
from jaxsed.errors import InputError
from tests.test_audio.sounds import FORMATS, encoded, tone
from tests.test_data.fakes import FakeData, assert_same_batch

REPOSITORY = Path(__file__).parents[2]
SHAPE = {"clip_seconds": 2.0, "n_frames": 50}


@pytest.fixture(scope="module")
def mixed():
    """A clip of every format and of several sample rates, each with its own sound."""
    data = FakeData(0)
    kinds = [(*kind, rate) for kind in FORMATS.items() for rate in (48_000, 24_000)]
    data.ids = [f"{name} {rate}" for name, _, rate in kinds]
    data.audio = [
        encoded(tone(2.0, rate, 200.0 + 20 * row), rate, **options)
        for row, (_, options, rate) in enumerate(kinds)
    ]
    data.manifest_hash = "mixed"
    return data


def test_every_format_comes_the_same_from_worker_processes(mixed):
    options = {"batch_size": 6, "sampling": "balanced", "seed": 3, "n_batches": 4}
    options |= SHAPE
    here = list(training_batches(mixed, threads=0, **options))
    workers = training_batches(mixed, workers=2, threads=1, **options)
    for batch, reference in zip(workers, here, strict=True):
        assert_same_batch(batch, reference)
    assert workers.speed.clips_per_core_second > 0
    # What comes is the tone: sounds of 48 and 24 kHz, resampled to 16 kHz.
    for row, audio in zip(here[0]["index"], here[0]["audio"]):
        expected = tone(2.0, 16_000, 200.0 + 20 * row)
        error = audio[4_000:-4_000] / 32_768 - expected[4_000:-4_000]
        assert np.abs(error).max() < 0.02


def test_the_first_clip_that_does_not_decode_ends_it_in_one_line(mixed):
    broken = FakeData(8)
    broken.audio[5] = b"not a sound"
    batches = evaluation_batches(broken, batch_size=2, workers=2, threads=1, **SHAPE)
    next(batches)
    with pytest.raises(InputError) as caught:
        list(batches)
    assert str(caught.value) == (
        "clip 'clip5' (row 5) cannot be decoded, although preparing the data checks "
        "every clip: prepare it again (clip5: not a sound file libsndfile can decode "
        "(Format not recognised))"
    )
    assert not multiprocessing.active_children()


def test_memory_that_runs_out_is_told_in_one_line():
    data = FakeData()

    def audio_bytes(row):
        raise MemoryError

    data.audio_bytes = audio_bytes
    batches = training_batches(data, seed=0, batch_size=4, threads=1, **SHAPE)
    with pytest.raises(InputError, match=r"memory ran out .*; lower data\.workers"):
        next(batches)
