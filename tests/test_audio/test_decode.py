import tracemalloc

import numpy as np
import pytest
import soundfile

from jaxsed.audio.decode import (
    AudioError,
    decode,
    load_mono,
    measure,
    stream_mono,
    to_int16,
)
from jaxsed.audio.resample import resample
from jaxsed.errors import InputError

from .sounds import FORMATS, encoded, tone


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("from_bytes", [False, True])
def test_every_format(tmp_path, ending, from_bytes):
    content = encoded(tone(), **FORMATS[ending])
    path = tmp_path / f"sound.{ending}"
    path.write_bytes(content)
    wave = load_mono(content if from_bytes else path, 16_000)
    assert wave.dtype == np.float32
    assert wave.shape == (16_000,)
    np.testing.assert_allclose(
        wave[2_000:-2_000], tone(rate=16_000)[2_000:-2_000], atol=0.01
    )


@pytest.mark.parametrize("channels", [2, 6, 16])
def test_channels_are_averaged(tmp_path, channels):
    wave = np.random.default_rng(0).uniform(-1, 1, (1_000, channels))
    path = tmp_path / "many channels.wav"
    soundfile.write(path, wave, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_mono(path, 16_000), wave.mean(1), atol=1e-6)
    assert decode(path).channels == channels


@pytest.mark.parametrize("name", ["Ünïcode 音.flac", " with  spaces .wav", "mp3"])
def test_names_do_not_matter(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(tone(), format="MP3"))
    assert load_mono(path, 16_000).shape == (16_000,)


def test_a_raw_ending_does_not_mislead(tmp_path):
    path = tmp_path / "sound.raw"
    path.write_bytes(encoded(tone(), format="WAV"))
    assert load_mono(str(path), 16_000).shape == (16_000,)


def test_low_rate_and_short_clip():
    assert (
        load_mono(encoded(tone(1.0, 8_000), 8_000, format="WAV"), 16_000).size == 16_000
    )
    assert load_mono(encoded(tone(0.3), format="WAV"), 16_000).size == 4_800


def test_float_files_may_exceed_full_scale():
    loud = encoded(4 * tone(), format="WAV", subtype="FLOAT")
    wave = load_mono(loud, 48_000)
    np.testing.assert_allclose(wave, 4 * tone(), atol=1e-6)
    assert to_int16(wave).max() == 32_767
    assert to_int16(wave).min() == -32_768


def test_sixteen_bit_survives_the_round_trip():
    samples = np.random.default_rng(0).integers(-32_768, 32_768, 5_000).astype(np.int16)
    samples[:2] = -32_768, 32_767
    wave = load_mono(encoded(samples, 16_000, format="FLAC"), 16_000)
    assert np.array_equal(to_int16(wave), samples)


# Streams.


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_a_stream_gives_the_samples_of_load_mono(tmp_path, ending, rate):
    path = tmp_path / "sound"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (120_007, 2))
    soundfile.write(path, wave, 48_000, **FORMATS[ending])
    blocks = list(stream_mono(path, rate, 0.25))
    assert {block.size for block in blocks[:-1]} == {round(rate / 4)}
    assert 0 < blocks[-1].size <= round(rate / 4)
    np.testing.assert_allclose(np.concatenate(blocks), load_mono(path, rate), atol=1e-5)


def test_a_stream_ends_on_a_block_without_an_empty_one(tmp_path):
    path = tmp_path / "sound.wav"
    soundfile.write(path, tone(2.0, 16_000), 16_000)
    assert [block.size for block in stream_mono(path, 16_000, 1.0)] == [16_000] * 2
    assert [block.size for block in stream_mono(path, 16_000, 5.0)] == [32_000]


def test_a_stream_needs_bounded_memory(tmp_path):
    path = tmp_path / "long.wav"
    minute = np.zeros((60 * 44_100, 2), np.int16)
    with soundfile.SoundFile(path, "w", 44_100, 2) as file:
        for _ in range(3):
            file.write(minute)
    del minute
    tracemalloc.start()
    total = sum(block.size for block in stream_mono(path, 16_000, 2.0))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 3 * 60 * 16_000
    assert peak_bytes < 4e6  # the whole would be 11.5 MB


@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_what_is_measured_is_what_is_decoded(ending):
    wave = np.stack([tone(3.0), -0.5 * tone(3.0, hz=880)], axis=1)
    content = encoded(wave, **FORMATS[ending])
    whole, found = decode(content), measure(content)
    assert found.seconds == len(whole.samples) / whole.sample_rate
    assert found.peak == np.abs(whole.samples).max() > 0.1
    assert found[2:] == whole[1:] == (48_000, 2, False)


def test_measuring_needs_bounded_memory():
    content = encoded(np.zeros(4_000_000, np.float32), format="FLAC")
    tracemalloc.start()
    assert measure(content).peak == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_stream_tells_what_is_wrong(tmp_path):
    with pytest.raises(AudioError, match=r"nowhere\.wav"):
        next(stream_mono(tmp_path / "nowhere.wav", 16_000))
    path = tmp_path / "tiny.wav"
    soundfile.write(path, np.ones(1, np.float32), 48_000)
    with pytest.raises(AudioError, match="too short"):
        list(stream_mono(path, 16_000))
    with pytest.raises(InputError, match="block_seconds=0"):
        stream_mono(path, 16_000, 0)


def test_load_mono_is_decode_and_resample(tmp_path):
    content = encoded(tone(0.5, 44_100), 44_100, format="FLAC")
    decoded = decode(content)
    assert decoded.sample_rate == 44_100
    expected = resample(decoded.samples, 44_100, 32_000)
    assert np.array_equal(load_mono(content, 32_000), expected)
