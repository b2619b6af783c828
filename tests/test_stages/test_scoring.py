import types

import jax
import numpy as np
import pytest

import jaxsed
from jaxsed.audio.decode import load_mono
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.evaluation import evaluator
from jaxsed.evaluation.scores import ScoreStore
from jaxsed.stages import scoring
from jaxsed.stages.scoring import Scorer, frame_metrics
from jaxsed.training import sharding
from jaxsed.weights import architecture, files
from tests.test_data.fakes import N_CLASSES, RATE
from tests.test_stages.recordings import N_FRAMES, Recordings


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
    found = frame_metrics(store, data, ("pauroc",), median_seconds=0.48)
    assert found == {"pauroc": metrics["pauroc"], "missing_clips": 3}
    table = (tmp_path / "per_class.tsv").read_text().splitlines()
    column = table[0].split("\t").index("missing")
    absent = {line.split("\t")[0]: line.split("\t")[column] for line in table[1:]}
    assert absent[data.vocabulary.names[label]] == "2"
    assert "3 of the 11 clips" in (tmp_path / "summary.json").read_text()


def scorer_of_place(folder, monkeypatch, **changes):
    """One whose model says at which frame of its clip it is, class c in c-ths of 16."""

    def predict(params, batch):
        frames = np.asarray(batch["audio"]).reshape(len(batch["audio"]), -1, 640)
        place = frames[:, :, 0, None] % 1000 + np.arange(N_CLASSES) / 16
        said = {"logits": place, "clip_logits": place[:, 0]}
        return said | {name: np.asarray(batch[name]) for name in ("index", "valid")}

    monkeypatch.setattr(scoring, "make_predict", lambda *_: predict)
    model = types.SimpleNamespace(
        frontend=types.SimpleNamespace(sample_rate=RATE),
        encoder=types.SimpleNamespace(clip_seconds=10.0),
    )
    data = Recordings()
    arguments = model, data, data.vocabulary, sharding.make_mesh(), None
    return Scorer(*arguments, directory=folder, batch_size=8, **changes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"metrics": ("map", "psds3")}, "unknown metric 'psds3'"),
        ({"postprocess": "class_medians"}, "give the file with the tuned widths"),
        ({"median_seconds": -1.0}, "median filter width -1"),
        ({"threshold": 50}, "threshold=50 is not a probability"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_computed(
    settings, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        Scorer(*[None] * 5, directory=tmp_path, keep_empty_clips=True, **settings)


def test_long_recordings_are_scored_to_their_end(tmp_path, monkeypatch):
    # Class 0 sounds at the end of clips 0 and 3, class 1 of clip 1, class 2 of clip 2.
    metrics = ("psds1_macro", "pauroc", "map")
    found = scorer_of_place(tmp_path, monkeypatch, metrics=metrics)({})
    store = ScoreStore(tmp_path)
    assert store.n_frames.tolist() == N_FRAMES and store.written.all()
    heard = [75, 608, 250, 500]  # of the clip of 3 s the rest is silence
    for logits, n_frames, n_heard in zip(store.logits, N_FRAMES, heard, strict=True):
        expected = np.where(np.arange(n_frames) < n_heard, np.arange(n_frames), 0)
        np.testing.assert_array_equal(logits[:, 0], expected)
    assert store.timestamps(1)[[0, -1]].tolist() == [0.0, 24.32]
    # The later, the higher. Up to 100 false alarms an hour: none is needed for the event
    # of clip 1; one, in clip 1, for that of clip 3; two are too many for that of clip 2.
    total = sum(Recordings().durations)
    psds = {"Bell": 1.0, "Bark": 0.5 * (1 - 36 / total), "Drum": 0.0}
    lines = (tmp_path / "per_class.tsv").read_text().splitlines()
    header, *rows = (line.split("\t") for line in lines)
    place = header.index("psds1")
    for row in rows:
        assert float(row[place]) == pytest.approx(psds[row[0]], abs=1e-9)
    assert found["psds1_macro"] == pytest.approx(sum(psds.values()) / 3, abs=1e-9)
    # Clips 0 and 2 have the same clip logits, those of their start.
    assert found["map"] == pytest.approx((1 / 2 + 1 + 1 / 4) / 3, abs=1e-6)


def test_a_long_clips_logits_are_the_mean_of_its_slices(tmp_path, monkeypatch):
    scorer = scorer_of_place(tmp_path / "all", monkeypatch, metrics=("map",))
    scorer({})
    store = ScoreStore(tmp_path / "all")
    assert store.logits.shape == (4, 1, N_CLASSES)
    # The third slice of clip 1 has 108 of its 608 frames.
    third = (0 * 250 + 250 * 250 + 500 * 108) / 608
    expected = np.array([0, third, 0, 125])[:, None] + np.arange(N_CLASSES) / 16
    np.testing.assert_allclose(store.logits[:, 0], expected, rtol=1e-3)
    heads = {"metrics": ("map",), "clip_seconds": 10.0}
    scorer_of_place(tmp_path / "heads", monkeypatch, **heads)({})
    logits = ScoreStore(tmp_path / "heads").logits[:, 0, 0]
    assert logits.tolist() == [0, 0, 0, 0]
    with pytest.raises(
        InputError, match=r"eval\.clip_seconds=5\.0: psds1 is of frames"
    ):
        scorer_of_place(tmp_path, monkeypatch, metrics=("psds1",), clip_seconds=5.0)


def test_slices_hear_what_a_detector_hears_of_them(teachers, tmp_path):
    params, description = files.load_model(teachers["t1"])
    detector = jaxsed.load(teachers["t1"])
    data, mesh = Recordings(detector.vocabulary), sharding.make_mesh()
    scorer = Scorer(
        architecture.build(description),
        data,
        detector.vocabulary,
        mesh,
        sharding.state_sharding(mesh, params),
        directory=tmp_path,
        metrics=("pauroc",),
        batch_size=8,
        median_seconds=0.2,
    )
    scorer(jax.device_put(params, sharding.replicated(mesh)))
    wave = load_mono(data.audio_bytes(1), RATE)[20 * RATE :]
    wave = np.round(np.pad(wave, (0, 10 * RATE - len(wave))) * 32768) / np.float32(
        32768
    )
    expected = detector.logits(wave[None])[0, :108]
    np.testing.assert_allclose(
        ScoreStore(tmp_path).logits[1][500:], expected, atol=5e-3
    )
