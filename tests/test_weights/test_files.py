import json
import os
import threading

import jax
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.labels.vocab import Vocabulary
from jaxsed.weights import architecture, files, swap

VOCABULARY = Vocabulary("three", ("Bark", "Bell", "Domestic animals, pets"))


def description(**changes):
    return {
        **architecture.describe("tiny_atst_frame"),
        "vocabulary": VOCABULARY.to_json(),
        "stage": "strong",
        "licence": "CC0",
        "provenance": {"seed": 0, "steps": 12},
        **changes,
    }


@pytest.fixture(scope="module")
def params():
    model = architecture.build(description())
    wave = np.zeros((1, 160_000), np.float32)
    tree = jax.jit(lambda k: model.init(k, model.frontend(wave)))(jax.random.key(0))
    return jax.tree.map(np.asarray, tree["params"])


@pytest.fixture
def folder(tmp_path, params):
    files.save_model(tmp_path / "model", params, description())
    return tmp_path / "model"


def edit(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_is_saved_comes_back_bit_by_bit(folder, params):
    loaded, described = files.load_model(folder)
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    for ours, theirs in zip(jax.tree.leaves(loaded), jax.tree.leaves(params)):
        assert ours.dtype == np.float32
        assert ours.tobytes() == theirs.tobytes()
    assert described["format"] == files.FORMAT
    assert described["encoder"] == "tiny_atst_frame"
    assert described["sequence"] == {"kind": "none"}
    assert described["frontend"] == "atst_frame"
    assert described["frame_seconds"] == 0.04
    assert described["provenance"] == {"seed": 0, "steps": 12}
    assert Vocabulary.from_json(described["vocabulary"]) == VOCABULARY
    assert sorted(p.name for p in folder.iterdir()) == [
        "model.json",
        "params.safetensors",
    ]
    assert os.listdir(folder.parent) == ["model"]


def test_sequence_model_is_part_of_the_architecture(tmp_path):
    config = {"encoder": "tiny_atst_frame", "sequence": "bigru", "sequence_width": 8}
    described = description(**architecture.describe(**config, sequence_layers=1))
    assert described["sequence"] == {"kind": "bigru", "width": 8, "layers": 1}
    shapes = architecture.parameter_shapes(described)
    assert any(name.startswith("sequence/") for name in shapes)
    tree = {}
    for name, shape in shapes.items():
        *parents, leaf = name.split("/")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = np.zeros(shape, np.float32)
    files.save_model(tmp_path / "m", tree, described)
    assert files.load_model(tmp_path / "m")[1]["sequence"]["width"] == 8


def test_compression_is_part_of_the_architecture():
    described = architecture.describe("tiny_m2d", compression="patch_pi-4")
    assert described["compression"] == "patch_pi-4"
    whole = description(**described)
    assert str(architecture.build(whole).compression) == "patch_pi-4"
    shapes = architecture.parameter_shapes(whole)
    assert shapes["encoder/embed/patch/kernel"] == (64, 16, 96)
    del whole["compression"]  # written before there was any
    shapes = architecture.parameter_shapes(whole)
    assert shapes["encoder/embed/patch/kernel"] == (16, 16, 96)
    with pytest.raises(InputError, match="unknown compression 'fshift4'"):
        architecture.build({**whole, "compression": "fshift4"})


def test_special_values_and_layouts_survive(tmp_path, monkeypatch):
    odd = np.array([np.nan, -0.0, 1e-45, np.inf], np.float32)
    tree = {
        "a": odd,
        "b": {"transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T},
        "scalar": np.float32(3),
    }
    monkeypatch.setattr(
        architecture,
        "parameter_shapes",
        lambda _: {"a": (4,), "b/transposed": (3, 2), "scalar": ()},
    )
    files.save_model(tmp_path / "m", tree, description())
    loaded, _ = files.load_model(tmp_path / "m")
    assert loaded["a"].tobytes() == odd.tobytes()
    np.testing.assert_array_equal(loaded["b"]["transposed"], tree["b"]["transposed"])
    assert loaded["scalar"] == 3


@pytest.mark.parametrize("atomic_exchange", [True, False])
def test_saving_again_replaces_the_model_and_keeps_notes(
    folder, params, monkeypatch, atomic_exchange
):
    if not atomic_exchange:
        monkeypatch.setattr(swap, "_exchange", lambda *_: False)
    (folder / "NOTES.md").write_text("mine")
    changed = jax.tree.map(lambda leaf: leaf + 1, params)
    files.save_model(folder, changed, description(stage="weak"))
    loaded, described = files.load_model(folder)
    assert described["stage"] == "weak"
    np.testing.assert_array_equal(
        jax.tree.leaves(loaded)[0], jax.tree.leaves(changed)[0]
    )
    assert (folder / "NOTES.md").read_text() == "mine"
    assert os.listdir(folder.parent) == ["model"]


def test_a_reader_never_finds_half_a_model(folder, params):
    if not swap._exchange(folder, folder):
        pytest.skip("this file system cannot exchange folders")
    stop, failures = threading.Event(), []

    def look():
        while not stop.is_set():
            if not (folder / "model.json").exists():
                failures.append("no model")

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for _ in range(20):
            files.save_model(folder, params, description())
    finally:
        stop.set()
        reader.join()
    assert not failures


def test_a_failed_save_leaves_the_old_model(folder, params, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(swap, "replace_folder", full)
    with pytest.raises(OSError, match="No space"):
        files.save_model(folder, params, description(stage="weak"))
    assert files.load_model(folder)[1]["stage"] == "strong"
    assert os.listdir(folder.parent) == ["model"]


def test_nothing_but_a_model_is_replaced(tmp_path, params):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text.tex").write_text("...")
    with pytest.raises(InputError, match="holds other files and no model"):
        files.save_model(tmp_path / "thesis", params, description())
    with pytest.raises(InputError, match="not a folder"):
        files.save_model(tmp_path / "thesis" / "text.tex", params, description())
    assert (tmp_path / "thesis" / "text.tex").read_text() == "..."


@pytest.mark.parametrize(
    ("tree", "changes", "message"),
    [
        ({"a": np.zeros(2)}, {}, "a is float64"),
        ({"a/b": np.zeros(2, np.float32)}, {}, "without '/'"),
        ({}, {"provenance": {"path": object()}}, "plain JSON"),
        ({}, {"provenance": {"loss": float("nan")}}, "plain JSON"),
        ({}, {"vocabulary": {"name": "x"}}, "not a vocabulary"),
    ],
)
def test_refused_before_anything_is_written(tmp_path, tree, changes, message):
    with pytest.raises(InputError, match=message):
        files.save_model(tmp_path / "m", tree, description(**changes))
    assert not list(tmp_path.iterdir())


def test_missing_fields_are_named(tmp_path):
    incomplete = description()
    del incomplete["licence"], incomplete["stage"]
    with pytest.raises(InputError, match="lacks stage, licence"):
        files.save_model(tmp_path / "m", {}, incomplete)


def test_no_model_here(tmp_path, folder):
    with pytest.raises(InputError, match="no such model folder"):
        files.load_model(tmp_path / "nowhere")
    with pytest.raises(InputError, match=f"use {folder}"):
        files.load_model(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        files.load_model(folder / "model.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no model\.json"):
        files.load_model(tmp_path / "empty")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 99}, "newer"),
        ({"format": "1"}, "not the description"),
        ({"encoder": "tiny_atst_fram"}, "did you mean 'tiny_atst_frame'"),
        ({"encoder": ["x"]}, "encoder"),
        ({"frontend": "fpasst"}, "'fpasst' does not fit"),
        ({"sequence": {"kind": "bigru", "width": "wide", "layers": 1}}, "sequence"),
        ({"sequence": {"kind": "bigru", "depth": 3}}, "sequence"),
        ({"sequence": "bigru"}, "sequence"),
        ({"sequence": {"kind": "bigru", "width": 8, "layers": 1}}, "missing: sequence"),
        ({"vocabulary": Vocabulary("two", ("a", "b")).to_json()}, "shape: strong_head"),
    ],
)
def test_wrong_descriptions_are_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(InputError, match=message) as caught:
        files.load_model(folder)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_changed_by_hand_is_refused(folder):
    vocabulary = VOCABULARY.to_json()
    vocabulary["classes"][0]["name"] = "Woof"
    edit(folder, vocabulary=vocabulary)
    with pytest.raises(InputError, match="changed by hand"):
        files.load_model(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '{"format": 1}'])
def test_a_damaged_description_is_refused(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model\.json"):
        files.load_model(folder)


def test_damaged_parameters_are_refused(folder):
    path = folder / "params.safetensors"
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100], whole[:-4] + b"\x01\x02\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="sha256"):
            files.load_model(folder)
    path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        files.load_model(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x80\x04K\x01."])
def test_what_is_no_safetensors_file_is_refused(folder, content):
    import hashlib

    (folder / "params.safetensors").write_bytes(content)
    edit(folder, parameters_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(InputError, match="not a safetensors file"):
        files.load_model(folder)


def test_missing_and_extra_parameters_are_named(tmp_path, params):
    tree = {**params, "surprise": {"x": np.zeros(1, np.float32)}}
    del tree["weak_head"]
    files.save_model(tmp_path / "m", tree, description())
    with pytest.raises(InputError, match=r"missing: weak_head.*unknown: surprise/x"):
        files.load_model(tmp_path / "m")


def test_dropped_blocks_are_part_of_the_architecture():
    whole = architecture.describe("tiny_m2d")
    assert "drop_layers" not in whole  # as older models are described
    described = description(**architecture.describe("tiny_m2d", drop_layers=1))
    assert described["drop_layers"] == 1
    shapes = architecture.parameter_shapes(described)
    blocks = {name.split("/")[1] for name in shapes if "/block_" in name}
    assert blocks == {"block_0", "block_1"}
