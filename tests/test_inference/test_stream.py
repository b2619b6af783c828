import tracemalloc

import numpy as np
import pytest

from jaxsed.audio.decode import AudioError
from jaxsed.errors import InputError
from jaxsed.evaluation.bounding_boxes import BoxSettings
from jaxsed.evaluation.detected_events import detected_events
from jaxsed.evaluation.median import median_filter, median_filter_by_class
from jaxsed.evaluation.postprocess import Postprocessing, choose
from jaxsed.evaluation.probabilities import sigmoid
from jaxsed.inference import stream
from jaxsed.labels.events import events_from_scores
from tests.test_inference.sounds import noise_bursts, write_sound


def pieces_of(array, seed):
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(array) + 1, rng.integers(0, 30)))
    return [piece for piece in np.split(array, cuts) if len(piece)]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 9, 12, 40])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 12, 13, 24, 250, 700])
def test_median_filter_of_pieces_is_that_of_the_whole(width, n_frames):
    scores = np.random.default_rng(n_frames).random((n_frames, 3), np.float32)
    for widths in ([width] * 3, [width, 0, 5]):
        whole = median_filter_by_class(scores, widths)
        for seed in range(4):
            for pieces in (pieces_of(scores, seed), scores[:, None]):
                found = list(stream.median_filtered(iter(pieces), widths))
                np.testing.assert_array_equal(np.concatenate(found), whole)
                assert all(map(len, found))


@pytest.mark.parametrize("n_frames", [1, 7, 250, 1003])
def test_events_of_pieces_are_those_of_the_whole(n_frames):
    rng = np.random.default_rng(n_frames)
    scores = np.repeat(rng.random((-(-n_frames // 5), 4)), 5, axis=0)[:n_frames]
    scores += 0.01 * rng.random(scores.shape)
    duration = n_frames * 0.04 - 0.013
    expected = events_from_scores(scores, 0.5, duration_seconds=duration)
    for seed in range(10):
        tracker = stream.EventTracker(choose(), 0.04)
        for piece in pieces_of(scores, seed):
            tracker.add(piece)
        assert tracker.finish(duration) == expected
    assert n_frames < 250 or len(expected) > 20


def test_an_event_that_never_ends_is_one_event():
    tracker = stream.EventTracker(choose(), 0.04)
    for peak in (0.6, 0.9, 0.7):
        tracker.add(np.full((100, 1), peak))
    (event,) = tracker.finish(11.99)
    assert event == (0.0, 11.99, 0, 0.9)


def test_sigmoid_keeps_small_probabilities_apart():
    logits = np.array([-1000, -80, -30, -29, 0, 1000], np.float32)
    scores = stream.sigmoid(logits)
    assert scores.dtype == np.float32 and (np.diff(scores) > 0).all()
    assert scores[4] == 0.5 and scores[5] == 1 and scores[2] == pytest.approx(9.36e-14)


@pytest.mark.parametrize("threshold", [-0.1, 1, 50, float("nan")])
def test_thresholds_are_probabilities(detector, threshold):
    with pytest.raises(InputError, match="threshold"):
        detector.detect("any.wav", threshold=threshold)


POSTPROCESSINGS = (
    choose("hear", threshold=0.4),
    Postprocessing("class_medians", 0.2, 0.1, classes={"1": 0.0, "2": 1.0}),
    Postprocessing("sebb", threshold=0.4, classes={"1": BoxSettings(0.32, 0.2, 9.0)}),
)


class PiecesOfScores:
    """A detector of which the scores are known, in pieces."""

    labels, sample_rate, frame_seconds = ("0", "1", "2"), 16_000, 0.04

    def __init__(self, scores, seed):
        self._pieces = pieces_of(np.log(scores / (1 - scores)), seed)

    def stream_logits(self, blocks, overlap):
        for _ in blocks:
            pass
        yield from self._pieces


@pytest.mark.parametrize("postprocessing", POSTPROCESSINGS, ids=lambda p: p.method)
def test_events_of_a_stream_are_those_of_the_whole(postprocessing, tmp_path):
    path = write_sound(tmp_path / "a.wav", 39.99)
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.uniform(0.01, 0.99, (100, 3)), 10, axis=0)
    scores = (scores + 0.005 * rng.random(scores.shape)).astype(np.float32)
    borders = np.arange(1001) * 0.04
    for seed in range(4):
        detector = PiecesOfScores(scores, seed)
        found = stream.detect(detector, path, postprocessing).events
        logits = np.log(scores / (1 - scores))
        expected = detected_events(
            sigmoid(logits),
            borders,
            detector.labels,
            postprocessing,
            postprocessing.median_widths(detector.labels, detector),
            39.99,
        )
        assert len(found) == len(expected) > 30
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_what_was_tuned_for_other_classes_is_refused(detector):
    tuned = Postprocessing("class_medians", classes={"Wind": 0.2})
    with pytest.raises(InputError, match="tuned for other classes"):
        stream.detect(detector, "any.wav", tuned)


def test_observers_see_all_of_it(detector, tmp_path):
    path = write_sound(tmp_path / "a.wav", 25.3)
    audio, raw, filtered = [], [], []
    found = stream.detect(
        detector,
        path,
        choose(),
        on_audio=[audio.append],
        on_scores=[raw.append],
        on_filtered=[filtered.append],
    )
    wave = np.concatenate(audio)
    np.testing.assert_allclose(wave, noise_bursts(25.3), atol=1e-4)
    scores = stream.sigmoid(detector.logits(wave[None])[0])
    np.testing.assert_allclose(np.concatenate(raw), scores, atol=1e-6)
    scores = median_filter(np.concatenate(raw), 12)
    np.testing.assert_array_equal(np.concatenate(filtered), scores)
    expected = events_from_scores(scores, 0.5, duration_seconds=25.3)
    assert found.events == expected and len(expected) > 5
    assert found.duration_seconds == pytest.approx(25.3)
    assert found.best.score == scores.max()
    frame = round(found.best.onset / 0.04)
    assert scores[frame, found.best.label] == scores.max()


def test_a_file_that_breaks_off_in_an_observer_is_closed(detector, tmp_path):
    path = write_sound(tmp_path / "a.wav", 1)

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        stream.detect(detector, path, choose(), on_scores=[full])
    with pytest.raises(AudioError):
        stream.detect(detector, tmp_path / "missing.wav", choose())


class Recording:
    """A detector that costs nothing, to see what the stream itself holds."""

    sample_rate, frame_seconds = 16_000, 0.04
    labels = tuple(map(str, range(447)))

    def stream_logits(self, blocks, overlap):
        for block in blocks:
            yield np.zeros((len(block) // 640, 447), np.float32)


def test_memory_does_not_grow_with_the_sound(tmp_path):
    def peak(minutes):
        path = write_sound(tmp_path / f"{minutes}.wav", 60 * minutes, 8000)
        tracemalloc.start()
        try:
            stream.detect(Recording(), path, choose())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is imported and kept on first use
    short, long = peak(2), peak(20)
    assert long < 1.1 * short
    assert long < 40e6  # 20 minutes of logits alone are 54 MB, of sound 77 MB
