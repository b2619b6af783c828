"""Downstream trainings on a few clips laid out as DESED: strong, weak, synthetic."""

import numpy as np
import pytest
import soundfile

from configs import common
from jaxsed.data.joined import open_data
from jaxsed.data.layouts import desed
from jaxsed.data.prepare import prepare
from jaxsed.errors import InputError
from jaxsed.stages import downstream as stage
from jaxsed.stages.start import with_prior
from jaxsed.training.logs import read_metrics
from jaxsed.weights import files

TIMES = "onset\toffset\tevent_label"
# Table of a split, folder of its sounds, columns behind the file's name.
TABLES = {
    "train/audioset_strong.tsv": ("train/strong_label_real", TIMES),
    "train/weak.tsv": ("train/weak", "event_labels"),
    "validation/validation.tsv": ("validation/validation", TIMES),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four clips a split, of noise: Frying from 1 to 2 s, or a Dog somewhere."""
    root = tmp_path_factory.mktemp("desed")
    rng = np.random.default_rng(0)
    for table, (folder, columns) in TABLES.items():
        folder = root / "audio" / folder
        folder.mkdir(parents=True)
        lines = [f"filename\t{columns}"]
        for i in range(4):
            wave = 0.1 * rng.standard_normal(16000 * 3)
            soundfile.write(folder / f"{folder.name}{i}.wav", wave, 16000)
            label = "Dog" if columns == "event_labels" else "1.0\t2.0\tFrying"
            lines.append(f"{folder.name}{i}.wav\t{label}")
        path = root / "metadata" / table
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    for split in ("train_strong", "train_weak", "validation"):
        prepare(desed.read(root, split), root / "prepared" / split)
    return root / "prepared"


@pytest.fixture
def config(data):
    """A function that returns a config of two steps on both kinds of clips."""

    def make(**changes):
        config = common.training("downstream")
        config.model.encoder = "tiny_atst_frame"
        config.model.head = "attention"
        common.several(config, [f"{data}/train_strong", f"{data}/train_weak"])
        config.data.shares = (1, 1)
        config.data.eval = f"{data}/validation"
        config.batch_size, config.steps = 8, 2
        config.optim.update(warmup_steps=0, schedule="constant")
        config.every.update(log=1, evaluate=2, save=2)
        config.eval.metrics = ("psds1",)
        config.update_from_flattened_dict(changes)
        return config.to_dict()

    return make


def test_weak_clips_teach_what_and_strong_ones_when(config, tmp_path):
    stage.run(config(**{"optim.max_lr": 1e-2, "steps": 6}), tmp_path)
    lines = read_metrics(tmp_path / "metrics.jsonl")
    logged = [line for line in lines if "train/label_bce" in line]
    for line in logged:
        assert line["train/times_part"] == 0.5
        mean = (line["train/label_bce"] + line["train/clip_bce"]) / 2
        np.testing.assert_allclose(line["train/loss"], mean, rtol=1e-5)
    for name in ("train/label_bce", "train/clip_bce"):
        assert logged[-1][name] < 0.8 * logged[0][name]
    _, description = files.load_model(tmp_path / "model")
    assert description["stage"] == "downstream"


def test_heads_begin_at_what_is_known_of_frames(data):
    both = open_data((f"{data}/train_strong", f"{data}/train_weak"))
    heads = {name: {"kernel": 0, "bias": 0} for name in ("strong_head", "weak_head")}
    found = with_prior(heads, heads, both)
    dog, frying = (both.vocabulary.index(name) for name in ("Dog", "Frying"))
    odds = np.exp(found["strong_head"]["bias"])
    # A second of three; weak labels do not say that dogs bark all the time.
    np.testing.assert_allclose(odds[frying], 1 / 2, rtol=1e-3)
    np.testing.assert_allclose(odds[dog], 1e-4, rtol=1e-3)
    np.testing.assert_allclose(np.exp(found["weak_head"]["bias"][dog]), 1, rtol=1e-3)


def test_teachers_of_frames_are_refused_for_weak_clips(config):
    batch = {"times_known": np.ones(1, bool)}
    task = stage.task(config(**{"teacher.logits": "somewhere"}))
    with pytest.raises(InputError, match=r"teacher\.logits are of frames"):
        task.objective(None, {}, batch)


def test_weak_clips_alone_have_no_times_to_learn(config, data, tmp_path):
    alone = config()
    alone["data"] |= {"train": f"{data}/train_weak", "shares": ()}
    with pytest.raises(InputError, match="has labels of whole clips"):
        stage.run(alone, tmp_path)
