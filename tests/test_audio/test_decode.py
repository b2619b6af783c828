import io
import os
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile

from jaxsed.audio.decode import AudioError, decode, load_mono, stream_mono, to_int16
from jaxsed.audio.resample import resample
from jaxsed.errors import InputError

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


# What is wrong with a file, and how it is told.


def error_of(source, name=None):
    with pytest.raises(AudioError) as caught:
        load_mono(source, 16_000, name)
    assert isinstance(caught.value, InputError)
    assert "\n" not in str(caught.value)
    return caught.value


def test_missing(tmp_path):
    error = error_of(tmp_path / "nowhere.wav")
    assert error.kind == "missing"
    assert str(tmp_path / "nowhere.wav") in str(error)
    assert error_of(tmp_path).kind == "missing"
    assert error_of("a\0b").kind == "missing"


def test_empty(tmp_path):
    path = tmp_path / "zero.wav"
    path.touch()
    assert error_of(path).kind == "empty"
    assert error_of(b"").kind == "empty"
    header_only = encoded(np.zeros(0, np.float32), format="WAV")
    assert error_of(header_only).kind == "empty"
    one_sample = encoded(np.ones(1, np.float32), format="WAV")
    assert error_of(one_sample).kind == "empty"


@pytest.mark.parametrize(
    "content",
    [b"<html>404 Not Found</html>" * 50, os.urandom(64), b"RIFF", b"fLaC" + bytes(99)],
    ids=["web page", "noise", "cut header", "broken flac"],
)
def test_undecodable(tmp_path, content):
    path = tmp_path / "broken.wav"
    path.write_bytes(content)
    error = error_of(path)
    assert error.kind == "undecodable"
    assert "broken.wav: not a sound file" in str(error)
    assert error_of(content, name="clip 7").args[1].startswith("clip 7: ")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_non_finite(tmp_path, value, channels):
    wave = np.repeat(tone(2.0)[:, None], channels, axis=1)
    wave[72_000, 0] = value
    path = tmp_path / "broken.wav"
    soundfile.write(path, wave, 48_000, subtype="FLOAT")
    error = error_of(path)
    assert error.kind == "non_finite"
    assert "near 1.4" in str(error)
    blocks = stream_mono(path, 16_000, 0.5)
    assert next(blocks).size == 8_000
    with pytest.raises(AudioError, match="NaN or infinite"):
        list(blocks)


def test_a_header_with_an_absurd_rate():
    content = bytearray(encoded(tone(0.1), format="WAV"))
    content[24:28] = (1).to_bytes(4, "little")
    error = error_of(bytes(content))
    assert error.kind == "undecodable"
    assert "sample rate 1 Hz" in str(error)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_truncated_file_gives_what_is_there(ending):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 400_000).astype(np.float32)
    whole = encoded(wave, **FORMATS[ending])
    cut = decode(whole[: len(whole) // 2])
    reference = decode(whole)
    assert 0.4 * len(wave) < len(cut.samples) < 0.55 * len(wave)
    # Containers without a length in the header cannot tell.
    assert cut.truncated == (ending in ("flac", "mp3"))
    assert not reference.truncated
    intact = len(cut.samples) - 5_000
    assert np.array_equal(cut.samples[:intact], reference.samples[:intact])


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_mp3_of_a_tone_is_read_without_seeking(rate):
    """Reading such a file block by block with soundfile alone gives silence."""
    content = encoded(tone(2.0, rate), rate, format="MP3")
    expected, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    np.testing.assert_allclose(decode(content).samples, expected, atol=1e-6)


def test_errors_cross_process_borders():
    error = pickle.loads(pickle.dumps(error_of(b"", name="clip")))
    assert error.kind == "empty"
    assert str(error).startswith("clip: ")


# MPEG streams without a length tag: the length is not known before the end.


def untagged_mp3(seconds=6.0, rate=32_000):
    """A variable bit rate stream whose first frames are far larger than the rest."""
    wave = np.zeros(round(seconds * rate), np.float32)
    wave[:rate] = np.random.default_rng(0).uniform(-0.5, 0.5, rate)
    content = encoded(
        wave, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
    )
    assert b"Xing" in content[:200]
    return content[content.index(b"\xff\xfb", 4) :]  # drops the frame with the tag


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x01\x48" + b"x" * 200])
def test_untagged_mp3_is_read_to_its_end(tmp_path, tag):
    content = tag + untagged_mp3()
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        assert file.frames < 0.8 * 6 * 32_000  # what libsndfile would have given
    assert abs(len(decode(content).samples) - 6 * 32_000) < 3_000
    path = tmp_path / "radio.mp3"
    path.write_bytes(content)
    wave = load_mono(path, 16_000)
    assert np.array_equal(wave, load_mono(content, 16_000))
    assert np.array_equal(np.concatenate(list(stream_mono(path, 16_000, 1.0))), wave)


def test_abandoning_a_stream_leaves_nothing_behind(tmp_path):
    path = tmp_path / "radio.mp3"
    path.write_bytes(untagged_mp3(20.0))
    threads = threading.active_count()
    blocks = stream_mono(path, 16_000, 0.1)
    next(blocks)
    blocks.close()
    assert threading.active_count() == threads


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
