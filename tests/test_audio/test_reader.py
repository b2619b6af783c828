import io
import os
import pickle
import threading

import numpy as np
import pytest
import soundfile

from jaxsed.audio import reader as reader_module
from jaxsed.audio.decode import AudioError, decode, load_mono, stream_mono
from jaxsed.audio.reader import KINDS, Reader
from jaxsed.errors import InputError

from .sounds import FORMATS, encoded, tone


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
    assert "near 1.50 s" in str(error)
    blocks = stream_mono(path, 16_000, 0.5)
    assert next(blocks).size == 8_000
    with pytest.raises(AudioError, match="NaN or infinite"):
        list(blocks)


def test_samples_without_a_power_in_float32(tmp_path):
    wave = tone(2.0)
    wave[72_000] = 1e20  # finite, but its square is not
    soundfile.write(tmp_path / "a.wav", wave, 48_000, subtype="FLOAT")
    error = error_of(tmp_path / "a.wav")
    assert error.kind == "non_finite"
    assert "samples of 1e+20, where full scale is 1, near 1.50 s" in str(error)
    wave[72_000] = -(2.0**31)  # integers as floats
    soundfile.write(tmp_path / "a.wav", wave, 48_000, subtype="FLOAT")
    assert decode(tmp_path / "a.wav").samples[72_000] == -(2.0**31)


def test_a_header_with_an_absurd_rate():
    content = bytearray(encoded(tone(0.1), format="WAV"))
    content[24:28] = (1).to_bytes(4, "little")
    error = error_of(bytes(content))
    assert error.kind == "undecodable"
    assert "sample rate 1 Hz, or a broken header; expected 1000 to" in str(error)


@pytest.mark.parametrize("ending", FORMATS)
def test_a_truncated_file_gives_what_is_there(ending):
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 400_000).astype(np.float32)
    whole = encoded(wave, **FORMATS[ending])
    cut = decode(whole[: len(whole) // 2])
    reference = decode(whole)
    assert 0.4 * len(wave) < len(cut.samples) < 0.55 * len(wave)
    assert cut.truncated and not reference.truncated
    intact = len(cut.samples) - 5_000
    assert np.array_equal(cut.samples[:intact], reference.samples[:intact])


@pytest.mark.parametrize("ending", FORMATS)
def test_files_are_read_without_descriptors_too(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(encoded(tone(0.5), **FORMATS[ending]))
    expected = decode(path)
    monkeypatch.setattr(reader_module, "_TAKES_DESCRIPTORS", False)
    found = decode(path)
    assert np.array_equal(found.samples, expected.samples)
    assert found[1:] == expected[1:]


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3"])
def test_a_disk_that_goes_is_not_the_end_of_a_file(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_bytes(encoded(np.zeros(400_000, np.float32), **FORMATS[ending]))
    with Reader(path) as reader, open(os.devnull, "wb") as unreadable:
        blocks = reader.blocks()
        next(blocks)
        os.dup2(unreadable.fileno(), reader._file.fileno())
        with pytest.raises(
            AudioError, match=r"cannot be read beyond \d+\.\d\d s \(Bad"
        ) as e:
            list(blocks)
    assert e.value.kind == "missing"


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


@pytest.mark.parametrize("ending", FORMATS)
def test_damage_anywhere_gives_samples_or_an_audio_error(ending):
    whole = encoded(tone(0.5), **FORMATS[ending])
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, min(len(damaged), 200), 3):
            damaged[place] = rng.integers(0, 256)
        try:
            samples = decode(bytes(damaged)).samples
        except AudioError as error:
            assert error.kind in KINDS
        else:
            assert samples.size
            assert np.isfinite(samples).all()
