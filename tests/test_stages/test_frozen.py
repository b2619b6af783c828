"""Frozen mode: heads trained on stored frames belong to the whole model."""

import json

import jax
import numpy as np
import pytest

import jaxsed
from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.models import sed
from jaxsed.stages import frame_passes, frozen, start, strong, weak
from jaxsed.stages.program import abstract_params, build_program
from jaxsed.stages.scoring import Scorer
from jaxsed.training import checkpoints, sharding
from jaxsed.training.logs import read_metrics
from jaxsed.weights import architecture, files

SETTINGS = {
    "mode": "frozen",
    "optim.max_lr": 1e-2,
    "steps": 40,
    "every.evaluate": 40,
    "every.save": 20,
    "eval.batch_size": 8,
}


@pytest.fixture(scope="module")
def model(small, tmp_path_factory):
    """A model folder whose encoder is as it was drawn."""
    config, folder = small(), tmp_path_factory.mktemp("model")
    vocabulary = PreparedData(config["data"]["train"]).vocabulary
    model = sed.build(n_classes=len(vocabulary), **config["model"])
    params = start.start_params(model, abstract_params(model), 5, "")
    files.save_model(
        folder,
        params,
        {
            **architecture.describe(**config["model"]),
            "vocabulary": vocabulary.to_json(),
            "stage": "weak",
            "licence": "",
            "provenance": {},
        },
    )
    return str(folder)


@pytest.fixture(scope="module")
def frozen_run(small, model, tmp_path_factory):
    """A finished run: its workdir and its config."""
    folder = tmp_path_factory.mktemp("frozen")
    config = small(**SETTINGS, init=model, frames=str(folder / "frames"))
    strong.run(config, folder / "run")
    return folder / "run", config


def saved(workdir):
    return files.load_model(workdir / "model")


def test_the_model_is_the_encoder_as_it_was_under_trained_heads(frozen_run, model):
    workdir, _ = frozen_run
    params, description = saved(workdir)
    assert jaxsed.load(workdir / "model").description == description
    before, _ = files.load_model(model)
    jax.tree.map(np.testing.assert_array_equal, params["encoder"], before["encoder"])
    assert params.keys() == {"encoder", "strong_head", "weak_head"}
    assert description["provenance"]["mode"] == "frozen"
    logged = read_metrics(workdir / "metrics.jsonl")
    losses = [line["train/loss"] for line in logged if "train/loss" in line]
    assert losses[-1] < 0.5 * losses[0]


def test_only_what_is_trained_is_in_checkpoints(frozen_run):
    _, config = frozen_run
    mesh = sharding.make_mesh()
    program = build_program(config, strong.task(config).objective, 5, mesh)
    state = program.abstract_state
    assert "encoder" not in state.params
    names = jax.tree_util.tree_flatten_with_path(state.opt_state)[0]
    assert not any("encoder" in jax.tree_util.keystr(keys) for keys, _ in names)


def test_stored_frames_score_as_the_whole_model_does(frozen_run, tmp_path):
    workdir, config = frozen_run
    params, description = saved(workdir)
    data, mesh = PreparedData(config["data"]["eval"]), sharding.make_mesh()
    scorer = Scorer(
        architecture.build(description),
        data,
        Vocabulary.from_json(description["vocabulary"]),
        mesh,
        sharding.state_sharding(mesh, params),
        directory=tmp_path / "scores",
        **config["eval"],
    )
    metrics = scorer(params)
    found, expected = (
        np.load(d / "scores" / "logits.npy").astype(np.float32)
        for d in (workdir, tmp_path)
    )
    # Of frames and of logits float16 keeps 11 bits.
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert np.abs(found - expected[::-1]).max() > 1  # clips differ by far more
    (*_, logged, _) = read_metrics(workdir / "metrics.jsonl")
    for name, value in metrics.items():
        assert logged[f"eval/{name}"] == pytest.approx(value, abs=5e-3)


def test_runs_that_share_a_folder_compute_frames_once(
    frozen_run, small, model, tmp_path, monkeypatch
):
    workdir, config = frozen_run
    before = {f: f.stat().st_mtime_ns for f in (workdir.parent / "frames").rglob("*")}
    monkeypatch.setattr(frame_passes.FramePass, "_compute", None)  # not to be called
    task = small("weak", **SETTINGS, init=model, frames=config["frames"])
    weak.run(task | {"clip_loss": "bce"}, tmp_path / "weak")
    after = {f: f.stat().st_mtime_ns for f in (workdir.parent / "frames").rglob("*")}
    assert before == after
    params, _ = saved(tmp_path / "weak")
    np.testing.assert_array_equal(
        params["strong_head"]["kernel"], params["weak_head"]["kernel"]
    )


def test_another_encoder_has_frames_of_its_own(frozen_run, model):
    workdir, config = frozen_run
    mesh = sharding.make_mesh()
    program = build_program(config, strong.task(config).objective, 12, mesh)
    params, _ = files.load_model(model)
    one = frozen.FrozenEncoder(config, workdir, program.whole, params)
    params["encoder"]["norm"]["bias"][3] += 1
    other = frozen.FrozenEncoder(config, workdir, program.whole, params)
    assert one.described != other.described
    files_of_stores = list((workdir.parent / "frames").glob("*/frames.json"))
    assert len(files_of_stores) == 2  # training and evaluation data
    for file in files_of_stores:
        assert json.loads(file.read_text())["encoder"] == one.described


def test_killed_anywhere_it_ends_with_the_same_bits(frozen_run, tmp_path, monkeypatch):
    workdir, config = frozen_run
    config = config | {"frames": ""}  # its own, in the workdir
    stops = iter(("pass", "train"))

    class Killed(Exception):
        pass

    write, save = frame_passes.FrameStore.write, checkpoints.Checkpoints.save
    stopped = []

    def dying_write(self, *arguments):
        write(self, *arguments)
        if not stopped:
            stopped.append(next(stops))
            raise Killed

    def dying_save(self, *arguments):
        save(self, *arguments)
        self.wait()
        if len(stopped) == 1:
            stopped.append(next(stops))
            raise Killed

    monkeypatch.setattr(frame_passes.FrameStore, "write", dying_write)
    monkeypatch.setattr(checkpoints.Checkpoints, "save", dying_save)
    for _ in range(2):
        with pytest.raises(Killed):
            strong.run(config, tmp_path)
    strong.run(config, tmp_path)
    assert stopped == ["pass", "train"]
    (expected, _), (found, _) = saved(workdir), saved(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize(
    "setting",
    [
        {"augment.wave_mixup_probability": 0.5},
        {"augment.mixup_probability": 0.3},
        {"augment.vary_filterbank": True},
        {"data.wavmix_probability": 0.5},
        {"patchout": 0.4},
        {"optim.layer_decay": 0.5},
        {"optim.frozen": ("^encoder/",)},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_what_acts_before_the_frames_is_refused_by_name(small, setting):
    (name,) = setting
    with pytest.raises(InputError, match=rf"^{name}=.* mode=finetune$"):
        frozen.is_frozen(small(mode="frozen", **setting))


def test_modes_are_two(small):
    assert not frozen.is_frozen(small())
    with pytest.raises(InputError, match="frozn"):
        frozen.is_frozen(small(mode="frozn"))
    pretraining = {"mode": "frozen", "model.head": "masked_patches"}
    with pytest.raises(InputError, match="pre-training"):
        frozen.is_frozen(small("pretrain", **pretraining))
