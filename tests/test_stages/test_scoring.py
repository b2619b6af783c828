import jax
import numpy as np

import jaxsed
from jaxsed.audio.decode import load_mono
from jaxsed.data.clip_selection import ClipSelection
from jaxsed.data.records import PreparedData
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.stages.scoring import Scorer, frame_metrics, predict_all
from jaxsed.training import sharding
from jaxsed.weights import architecture, files


def test_scores_are_the_detectors_and_metrics_are_of_the_stored_scores(
    small, teachers, tmp_path
):
    params, description = files.load_model(teachers["t1"])
    model = architecture.build(description)
    data = PreparedData(small()["data"]["eval"])
    mesh = sharding.make_mesh()
    detector = jaxsed.load(teachers["t1"])
    scorer = Scorer(
        model,
        data,
        detector.vocabulary,
        mesh,
        sharding.state_sharding(mesh, params),
        directory=tmp_path,
        metrics=("psds1_macro", "pauroc", "map"),
        batch_size=5,  # shared by 8 devices: 8; then 8 clips are one full batch
    )
    metrics = scorer(jax.device_put(params, sharding.replicated(mesh)))
    assert metrics.keys() == {"psds1_macro", "pauroc", "map"}
    store = ScoreStore(tmp_path)
    assert store.ids == list(data.ids) and not len(store.missing_rows())
    wave = np.stack([load_mono(data.audio_bytes(row), 16000) for row in (0, 7)])
    expected = detector.logits(np.round(wave * 32768) / np.float32(32768))
    np.testing.assert_allclose(store.logits[[0, 7]], expected, atol=5e-3)
    again = evaluator.evaluate(
        store,
        {clip: data.events(row) for row, clip in enumerate(data.ids)},
        data.vocabulary,
        dict(zip(data.ids, data.durations)),
    )
    for name in ("psds1_macro", "pauroc"):
        assert metrics[name] == again.summary[name]
    assert 0 < metrics["map"] <= 1
    assert (tmp_path / "per_class.tsv").read_text().startswith("class\t")

    data.manifest["clips_listed"] += 3
    label = data.events(0)[0].label
    data.manifest["classes"][label]["missing"] = 2
    found = frame_metrics(store, data, ("pauroc",), 0.48)
    assert found == {"pauroc": metrics["pauroc"], "missing_clips": 3}
    table = (tmp_path / "per_class.tsv").read_text().splitlines()
    column = table[0].split("\t").index("missing")
    absent = {line.split("\t")[0]: line.split("\t")[column] for line in table[1:]}
    assert absent[data.vocabulary.names[label]] == "2"
    assert "3 of the 11 clips" in (tmp_path / "summary.json").read_text()


def test_a_batch_is_computed_while_the_last_one_is_written(small):
    data, mesh = PreparedData(small()["data"]["eval"]), sharding.make_mesh()
    events = []

    def predict(params, batch):
        events.append("dispatched")
        n, n_classes = len(batch["index"]), len(data.vocabulary)
        outputs = {"logits": (n, 250, n_classes), "clip_logits": (n, n_classes)}
        outputs = {name: np.zeros(shape) for name, shape in outputs.items()}
        return outputs | {name: batch[name] for name in ("index", "valid")}

    twice = ClipSelection(data, [*range(8), *range(8)])
    for predicted in predict_all(predict, {}, twice, mesh, 16000, 3):
        events.append(predicted.rows.tolist())
    first, second = list(range(8)), list(range(8, 16))
    assert events == ["dispatched", "dispatched", first, second]
