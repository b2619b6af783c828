"""PSDS of bounding boxes beside sed_scores_eval, which is given them as scores."""

import numpy as np
import pytest

from jaxsed.evaluation import class_measures, evaluator, psds
from jaxsed.evaluation.bounding_boxes import BoxSettings, bounding_boxes_of_classes
from jaxsed.evaluation.postprocess import Postprocessing
from jaxsed.evaluation.probabilities import sigmoid
from jaxsed.evaluation.scores import ScoreStore
from tests.test_evaluation import cases

SETTINGS = [BoxSettings(0.48, 0.2, 3.0), BoxSettings(), BoxSettings(0.32, 0.5, 9.0)]
CLASSES = {f"class {c}": settings for c, settings in enumerate(SETTINGS)}


def as_scores(boxes, seconds, n_classes):
    """Frames between all ends of boxes, with their confidences: `(borders, [t, c])`."""
    borders = np.unique(np.concatenate([[0, seconds], boxes.onset, boxes.offset]))
    scores = np.full((len(borders) - 1, n_classes), -np.inf)
    for label, onset, offset, confidence in zip(*boxes):
        inside = (borders[:-1] >= onset) & (borders[1:] <= offset)
        scores[inside, label] = confidence
    return borders, scores


@pytest.mark.parametrize("seed", range(3))
def test_psds_of_boxes_equals_the_library(seed, tmp_path, monkeypatch):
    monkeypatch.setattr(class_measures, "_CHUNKS_BYTES", 20_000)
    rng = np.random.default_rng(seed)
    n_frames = rng.choice([50, 125, 250], 12)  # clips of several lengths
    events = cases.random_events(rng, 12, 3, seconds=10.0)
    durations = dict(zip(events, (n_frames * 0.04).round(6).tolist()))
    events = {
        clip: [
            event._replace(offset=min(event.offset, durations[clip]))
            for event in of_clip
            if event.onset < durations[clip]
        ]
        for clip, of_clip in events.items()
    }
    store = ScoreStore.create(
        tmp_path / "s", list(events), cases.vocabulary(3), n_frames=n_frames.tolist()
    )
    logits = cases.random_logits(rng, events, 3)
    clips = {}
    for row, clip in enumerate(events):
        store.write([row], logits[[row], : n_frames[row]])
        scores = sigmoid(store.logits[row].astype(np.float64))
        boxes = bounding_boxes_of_classes(scores, store.timestamps(row), SETTINGS)
        clips[clip] = as_scores(boxes, durations[clip], 3)
    found = evaluator.evaluate(
        store,
        events,
        cases.vocabulary(3),
        durations,
        ["psds1", "psds2"],
        postprocess=Postprocessing("sebb", classes=CLASSES),
        keep_empty_clips=True,
    )
    for name, scenario in psds.SCENARIOS.items():
        expected, of_classes = cases.psds_by_library(
            clips, events, durations, 0, scenario
        )
        assert found.summary[name] == pytest.approx(expected, abs=1e-9)
        assert [row[name] for row in found.per_class] == pytest.approx(of_classes)
    assert found.summary["psds2"] > 0
