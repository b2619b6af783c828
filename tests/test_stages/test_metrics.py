import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from jaxsed.data.records import PreparedData
from jaxsed.labels.events import clip_targets
from jaxsed.labels.vocab import Vocabulary
from jaxsed.stages import metrics


def test_metrics_are_of_frames_or_of_clips():
    asked = ("map", "psds1", "accuracy", "pauroc")
    assert metrics.of_frames(asked) == ["psds1", "pauroc"]
    assert metrics.of_clips(asked) == ["map", "accuracy"]


def test_clips_are_scored_on_the_classes_that_model_and_data_share(scenes, tmp_path):
    data = PreparedData(scenes / "prepared" / "eval")
    names, mids = data.vocabulary.names, data.vocabulary.mids
    # In another order, without the first class, and with one that the data lack.
    vocabulary = Vocabulary(
        "other", (*names[:0:-1], "Yodel"), (*mids[:0:-1], "/m/none")
    )
    logits = np.random.default_rng(0).normal(size=(len(data), len(vocabulary)))
    data.manifest["clips_listed"] += 3
    labels = np.array([clip_targets(data.events(i), len(names)) for i in range(8)])
    present = [c for c in range(1, len(names)) if labels[:, c].any()]
    data.manifest["classes"][present[0]]["missing"] = 2
    asked = ("map", "psds1")
    found = metrics.clip_metrics(
        logits.astype(np.float32), vocabulary, data, asked, tmp_path
    )
    expected = [
        average_precision_score(labels[:, c], logits[:, len(names) - 1 - c])
        for c in present
    ]
    assert found.keys() == {"map", "missing_clips"} and found["missing_clips"] == 3
    assert found["map"] == pytest.approx(np.mean(expected), abs=1e-6)
    table = (tmp_path / "per_class_clips.tsv").read_text().splitlines()
    column = table[0].split("\t").index("missing")
    absent = {line.split("\t")[0]: line.split("\t")[column] for line in table[1:]}
    assert names[0] not in absent and "Yodel" not in absent
    assert absent[names[present[0]]] == "2"
    assert "3 of the 11 clips" in (tmp_path / "summary_clips.json").read_text()
    assert metrics.clip_metrics(logits, vocabulary, data, ("psds1",), tmp_path) == {}
