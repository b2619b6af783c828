import shutil
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
import soundfile

import jaxsed
from jaxsed.audio.decode import AudioError, load_mono
from jaxsed.errors import InputError
from jaxsed.evaluation import postprocess
from jaxsed.evaluation.median import median_filter
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.inference.detector import Detector
from jaxsed.labels.events import events_from_scores
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models import sed
from jaxsed.weights import architecture, files
from tests.test_inference.conftest import LABELS
from tests.test_inference.sounds import noise_bursts, write_sound
from tests.test_models import drawn


def test_importing_the_package_leaves_jax_alone():
    code = (
        "import sys, jaxsed; assert 'load' in dir(jaxsed);"
        "print([m for m in ('jax', 'numpy', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        jaxsed.lode  # noqa: B018


def test_describes_itself(detector):
    assert isinstance(detector, jaxsed.Detector)
    assert detector.labels == LABELS
    assert detector.sample_rate == 16_000
    assert detector.frame_seconds == 0.04
    assert "tiny_atst_frame, 4 classes" in repr(detector)


def test_a_clip_gives_what_model_and_frontend_give(detector, model_folder):
    params, description = files.load_model(model_folder)
    model = architecture.build(description)
    wave = np.stack([noise_bursts(10, seed=seed) for seed in (0, 1)])
    logits, out = jax.jit(
        lambda wave: model.apply({"params": params}, model.frontend(wave))
    )(wave)
    assert detector.logits(wave).dtype == np.float32
    np.testing.assert_allclose(detector.logits(wave), logits, atol=5e-5)
    np.testing.assert_allclose(detector.frames(wave), out["frames"], atol=5e-5)
    clip_logits = detector.clip_logits(wave)
    np.testing.assert_allclose(clip_logits, out["clip_logits"], atol=5e-5)
    assert logits.shape == (2, 250, 4) and np.ptp(logits) > 0.5


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(1, 1), (640, 1), (641, 2), (4800, 8), (160_000, 250), (160_001, 251)],
)
def test_a_frame_for_every_started_40_ms(detector, n_samples, n_frames):
    wave = noise_bursts(30)[None, :n_samples]
    assert detector.logits(wave).shape == (1, n_frames, 4)
    assert detector.frames(wave).shape == (1, n_frames, 96)
    assert detector.clip_logits(wave).shape == (1, 4)


@pytest.mark.parametrize("encoder", [n for n in sed.ENCODERS if n.startswith("tiny")])
@pytest.mark.parametrize("seconds", [3.32, 0.04])
def test_a_short_clip_is_seen_alone(encoder, seconds):
    model = sed.build(encoder, len(LABELS))
    rate = model.frontend.sample_rate
    wave = noise_bursts(10, rate)[None, : round(seconds * rate)]
    variables = drawn.params_for(model, jax.eval_shape(model.frontend, wave))
    described = {
        **architecture.describe(encoder),
        "vocabulary": Vocabulary("four", LABELS).to_json(),
        "frame_seconds": 0.04,
    }
    detector = Detector(model, variables["params"], described)
    logits, out = jax.jit(lambda w: model.apply(variables, model.frontend(w)))(wave)
    assert logits.shape == (1, round(25 * seconds), 4)
    np.testing.assert_allclose(detector.logits(wave), logits, atol=2e-4)
    np.testing.assert_allclose(detector.frames(wave), out["frames"], atol=5e-4)
    clip_logits = detector.clip_logits(wave)
    np.testing.assert_allclose(clip_logits, out["clip_logits"], atol=2e-4)


def test_a_sample_more_than_a_label_frame_is_filled_up_with_silence(detector):
    wave = noise_bursts(3.32)[None, :-639]
    padded = np.pad(wave, ((0, 0), (0, 639)))
    np.testing.assert_array_equal(detector.logits(wave), detector.logits(padded))


def test_the_same_numbers_in_any_company(detector):
    waves = np.stack([noise_bursts(10, seed=seed) for seed in range(8)])
    waves[3] *= 1000  # a loud neighbour must not shift anyone's features
    together = detector.logits(waves)
    np.testing.assert_array_equal(detector.logits(waves), together)
    np.testing.assert_array_equal(detector.logits(waves[::-1])[::-1], together)
    for row in (0, 5):
        alone = detector.logits(waves[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=5e-5)
    for count in (3, 5):  # 5 is filled up to 8
        some = detector.logits(waves[:count])
        np.testing.assert_allclose(some, together[:count], atol=5e-5)


def test_long_sounds_are_the_windows_where_only_one_is_heard(detector):
    wave = noise_bursts(26)
    long = detector.logits(wave[None])[0]
    assert long.shape == (650, 4)
    # Windows start at 0, 8 and 16 s; between the fades a frame has one window only.
    for start, stop, window_start in ((0, 212, 0), (238, 412, 200), (438, 650, 400)):
        clip = wave[window_start * 640 : window_start * 640 + 160_000]
        alone = detector.logits(clip[None])[0]
        expected = alone[start - window_start : stop - window_start]
        np.testing.assert_allclose(long[start:stop], expected, atol=5e-5)


def test_a_steady_tone_has_no_seam(detector):
    time = np.arange(16_000 * 42) / 16_000
    # Its period divides a label frame: every window hears the same.
    tone = (0.1 * np.sin(2 * np.pi * 1000 * time)).astype(np.float32)
    (clip,) = detector.logits(tone[None, :160_000])
    (long,) = detector.logits(tone[None])
    # Nowhere does the long sound jump more than a window by itself, and nowhere does
    # it leave the range of one window; hard cuts would jump from end to start.
    largest = np.abs(np.diff(clip, axis=0)).max(axis=0)
    between = np.abs(np.diff(long, axis=0))[20:-20].max(axis=0)
    assert (between <= largest + 1e-4).all()
    assert (long <= clip.max(axis=0) + 1e-4).all()
    assert (long >= clip.min(axis=0) - 1e-4).all()


def test_clip_logits_of_a_long_sound_are_between_those_of_its_windows(detector):
    wave = noise_bursts(18)
    windows = [wave[:160_000], wave[128_000:]]
    one, other = detector.clip_logits(np.stack(windows))
    # Either window speaks for half of the sound.
    np.testing.assert_allclose(
        detector.clip_logits(wave[None])[0], (one + other) / 2, atol=1e-4
    )


def test_frames_of_a_long_sound_follow_each_other(detector):
    wave = noise_bursts(14)[None]
    frames = detector.frames(wave)
    assert frames.shape == (1, 350, 96)
    first = detector.frames(wave[:, :160_000])
    np.testing.assert_allclose(frames[:, :250], first, atol=5e-5)
    second = detector.frames(wave[:, 160_000:])
    np.testing.assert_allclose(frames[:, 250:], second, atol=5e-5)


@pytest.mark.parametrize("method", ["logits", "frames", "clip_logits"])
def test_wrong_waveforms_are_refused(detector, method):
    with pytest.raises(InputError, match="wave\\[None\\]"):
        getattr(detector, method)(np.zeros(160_000, np.float32))


def test_wrong_options_are_refused(model_folder):
    with pytest.raises(InputError, match="batch_size"):
        jaxsed.load(model_folder, batch_size=0)
    with pytest.raises(InputError, match="overlap"):
        jaxsed.load(model_folder, overlap=1.0)
    with pytest.raises(InputError, match="dtype"):
        jaxsed.load(model_folder, dtype="float8")
    with pytest.raises(InputError, match="no such model folder"):
        jaxsed.load("nowhere")


@pytest.mark.parametrize(
    ("what", "expected", "message"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory", InputError, "8 windows .* smaller batch"),
        ("INTERNAL: other", jax.errors.JaxRuntimeError, "INTERNAL"),
    ],
)
def test_a_device_without_enough_memory(detector, monkeypatch, what, expected, message):
    def full(*arguments):
        raise jax.errors.JaxRuntimeError(what)

    monkeypatch.setattr(detector._computed, "_compute", full)
    with pytest.raises(expected, match=message):
        detector.logits(np.zeros((1, 16_000), np.float32))


def test_a_model_that_diverged_is_refused(model_folder, tmp_path):
    params, description = files.load_model(model_folder)
    params["strong_head"]["bias"] = np.full(4, np.nan, np.float32)
    files.save_model(tmp_path / "m", params, description)
    with pytest.raises(InputError, match="diverged"):
        jaxsed.load(tmp_path / "m").logits(np.zeros((1, 9), np.float32))


def test_batch_size_and_overlap_change_little_or_nothing(detector, model_folder):
    wave = noise_bursts(40)[None]
    expected = detector.logits(wave)
    one_by_one = jaxsed.load(model_folder, batch_size=1).logits(wave)
    np.testing.assert_allclose(one_by_one, expected, atol=5e-5)
    cut = jaxsed.load(model_folder, overlap=0).logits(wave)
    np.testing.assert_allclose(cut[:, :212], expected[:, :212], atol=5e-5)


def test_scores_are_in_the_format_of_sed_scores_eval(detector, tmp_path):
    path = write_sound(tmp_path / "größe und.wav", 12.35, 44_100, channels=6)
    table = detector.scores(path)
    assert table.columns.tolist() == ["onset", "offset", *LABELS]
    assert len(table) == 309 and table.onset[0] == 0
    assert table.offset.iloc[-1] == pytest.approx(12.35, abs=1e-4)
    np.testing.assert_array_equal(table.onset[1:], table.offset[:-1])
    wave = load_mono(path, 16_000)
    scores = 1 / (1 + np.exp(-detector.logits(wave[None])[0]))
    np.testing.assert_allclose(table[list(LABELS)], scores, atol=1e-5)
    smooth = detector.scores(path, median_seconds=0.48)[list(LABELS)].to_numpy()
    np.testing.assert_allclose(smooth, median_filter(scores, 12), atol=1e-5)


def test_detect_finds_the_events_of_the_filtered_scores(detector, tmp_path):
    path = write_sound(tmp_path / "a.flac", 12.35, 8_000)
    scores = detector.scores(path, median_seconds=0.2)
    events = events_from_scores(scores[list(LABELS)].to_numpy(), 0.6)
    found = detector.detect(path, threshold=0.6, median_seconds=0.2)
    assert found.columns.tolist() == ["onset", "offset", "event_label", "score"]
    assert len(found) == len(events) > 3
    assert found.event_label.tolist() == [LABELS[event.label] for event in events]
    assert found.onset.tolist() == [event.onset for event in events]
    assert found.score.tolist() == [event.score for event in events]
    assert (found.offset <= 12.35 + 1e-4).all()
    none = detector.detect(path, threshold=0.9999)
    assert len(none) == 0 and none.columns.tolist() == found.columns.tolist()


def test_detect_does_what_the_models_folder_says(model_folder, detector, tmp_path):
    path = write_sound(tmp_path / "a.wav", 12.35)
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    assert jaxsed.load(folder).postprocessing == choose()
    tuned = Postprocessing("class_medians", 0.2, 0.1, classes={"Bell": 1.0})
    postprocess.write(folder / "postprocess.json", tuned, {})
    own = jaxsed.load(folder)
    assert own.postprocessing == tuned
    found = own.detect(path, 0.6)
    pd.testing.assert_frame_equal(found, detector.detect(path, 0.6, postprocess=folder))
    assert (found.offset - found.onset >= 0.1 - 1e-9).all()
    # What the caller says comes first.
    for arguments in ({"median_seconds": 0.48}, {"postprocess": "median"}):
        plain = own.detect(path, 0.6, **arguments)
        pd.testing.assert_frame_equal(plain, detector.detect(path, 0.6))
        assert not plain.equals(found)
    other = Postprocessing("class_medians", classes={"Wind": 1.0})
    postprocess.write(folder / "postprocess.json", other, {})
    with pytest.raises(InputError, match="tuned for other classes"):
        jaxsed.load(folder)


def test_files_that_cannot_be_used_are_named(detector, tmp_path):
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(9000, np.nan), 16_000, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    for name in ("nan.wav", "empty.wav", "missing.wav"):
        for method in (detector.detect, detector.scores):
            with pytest.raises(AudioError, match=name):
                method(tmp_path / name)


def test_silence_is_not_an_error(detector):
    assert np.isfinite(detector.logits(np.zeros((1, 16_000), np.float32))).all()


def test_a_detector_is_made_without_a_folder(model_folder):
    params, description = files.load_model(model_folder)
    model = architecture.build(description)
    made = Detector(model, params, description)
    assert made.logits(np.zeros((1, 640), np.float32)).shape == (1, 1, 4)
