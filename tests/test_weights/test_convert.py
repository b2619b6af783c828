import json
import os
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.labels import vocab
from jaxsed.weights import (
    architecture,
    convert,
    files,
    mapping,
    parameter_tree,
    safetensors_writer,
    torch_content,
    torch_file,
)
from jaxsed.weights.convert import convert_file
from jaxsed.weights.convert_back import convert_back
from jaxsed.weights.layouts.external_deit import to_fpasst
from tests import goldens, synth
from tests.test_weights import small_checkpoints as small

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def small_encoders():
    with pytest.MonkeyPatch.context() as monkeypatch:
        small.shrink_encoders(monkeypatch)
        yield


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Makes a file seem to hold any containers; those are the reader's tests."""

    def put(content):
        path = tmp_path / "in.ckpt"
        path.write_bytes(b"content")
        read = torch_file.TorchFile(path, "zip", content, ())
        reader = types.SimpleNamespace(read=lambda _, verify: read)
        monkeypatch.setattr(convert, "torch_file", reader)
        return path

    return put


def assert_same_tensors(path, expected):
    found = torch_file.read(path).content
    assert found.keys() == expected.keys()
    for key, array in expected.items():
        assert found[key].dtype == array.dtype, key
        assert found[key].shape == array.shape, key
        assert found[key].tobytes() == array.tobytes(), key


def assert_refused(message, source, folder, **options):
    before = sorted(folder.parent.iterdir())
    with pytest.raises(InputError, match=message) as caught:
        convert_file(source, folder, **options)
    assert "\n" not in str(caught.value)
    assert sorted(folder.parent.iterdir()) == before


@pytest.mark.parametrize(("name", "encoder"), small.MANIFESTS.items())
def test_every_released_file_converts_and_comes_back_bit_by_bit(
    tmp_path, name, encoder
):
    tensors = small.state_dict(name)
    source = small.write(tmp_path / f"{name}.pt", tensors)
    report = convert_file(source, tmp_path / "m")
    assert (report.encoder, report.stage) == (encoder, "strong")
    assert report.vocabulary == "audioset_strong_447"
    assert set(report.used) | report.dropped.keys() == tensors.keys()
    assert not set(report.used) & report.dropped.keys()
    assert not report.fresh
    params, description = files.load_model(tmp_path / "m")
    expected = mapping.from_released(encoder, tensors)
    assert jax.tree.structure(params) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(params), jax.tree.leaves(expected)):
        assert ours.tobytes() == theirs.tobytes()
    assert report.n_parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    kind = {"rnn": "bigru", "bilstm256": "bilstm"}.get(name.partition("_")[2], "none")
    assert description["sequence"]["kind"] == kind
    if kind != "none":
        assert description["sequence"]["width"] == small.SMALL_HIDDEN
        assert description["sequence"]["layers"] == 2
    assert description["provenance"]["source"] == f"{name}.pt"
    back = convert_back(tmp_path / "m", tmp_path / "back.pt")
    assert back.n_tensors == len(tensors) and not back.filled and not back.left_out
    assert_same_tensors(tmp_path / "back.pt", tensors)


EXTERNAL = {
    "BEATs": ("beats", "model.model.", ""),
    "ATST-Frame_ssl": ("atst_frame", "model.atst.", "model.teacher.encoder."),
    "M2D": ("m2d", "model.backbone.", "module.ar.runtime.backbone."),
    "ASiT": ("asit", "model.", "module.backbone."),
}


@pytest.mark.parametrize("start", EXTERNAL)
def test_originals_convert_and_their_tensors_come_back(reads, tmp_path, start):
    encoder, ours, theirs = EXTERNAL[start]
    tensors = small.external(start)
    content = {"cfg": {}, "teacher": small.behind(theirs, tensors)}
    content["student"] = content["teacher"] if encoder == "asit" else {}
    report = convert_file(reads(content), tmp_path / "m")
    assert (report.encoder, report.stage) == (encoder, "ssl")
    assert (report.container, report.prefix) == ("teacher", theirs)
    in_file = torch_content.flatten(content).keys()
    assert set(report.used) | report.dropped.keys() == in_file
    assert len(report.used) + len(report.dropped) == len(in_file)
    heads = {
        f"{head}/{name}"
        for head in ("strong_head", "weak_head")
        for name in ("kernel", "bias")
    }
    assert report.fresh.keys() == heads
    files.load_model(tmp_path / "m")
    back = convert_back(tmp_path / "m", tmp_path / "back.pt")
    found = torch_file.read(tmp_path / "back.pt").content
    assert found.keys() - back.filled.keys() == small.behind(ours, tensors).keys()
    for key, array in small.behind(ours, tensors).items():
        assert found[key].tobytes() == array.tobytes(), key
    assert back.left_out == ("strong_head", "weak_head")
    # What was written is a released file: it converts to the same model.
    reads(found)
    again = convert_file(tmp_path / "in.ckpt", tmp_path / "again")
    assert again.origin == "released layout"
    parameters = [
        (tmp_path / m / "params.safetensors").read_bytes() for m in ("m", "again")
    ]
    assert parameters[0] == parameters[1]


class TestDeit:
    def test_positions_and_patches_are_the_originals(self):
        golden = goldens.load("ops")
        shapes = {
            "pos_embed": (1, 578, 768),
            "patch_embed.proj.weight": (768, 3, 16, 16),
        }
        tensors = {
            key: synth.synth_tensor(f"deit.{key}", shape, "float32", 0)
            for key, shape in shapes.items()
        }
        made, notes = to_fpasst(tensors, {})
        assert notes
        expected = json.loads(str(golden["deit_shapes"]))
        assert {key: list(array.shape) for key, array in made.items()} == expected
        # The original resizes in float32, which alone is 1.8e-6 off its own float64.
        np.testing.assert_allclose(
            made["time_new_pos_embed"][0, ::8, 0],
            golden["deit_time_new_pos_embed"],
            rtol=0,
            atol=2e-6,
        )
        for ours, theirs in (
            (made["freq_new_pos_embed"][0, ::8, 0, 0], "deit_freq_new_pos_embed"),
            (made["new_pos_embed"][0, :, ::8], "deit_new_pos_embed"),
            (made["patch_embed.proj.weight"][::96, :, ::8], "deit_patch_weight"),
        ):
            np.testing.assert_allclose(ours, golden[theirs], rtol=0, atol=1e-6)

    def test_becomes_an_fpasst_with_a_drawn_stem(self, reads, tmp_path):
        tensors = small.external("deit")
        source = reads({"model": tensors})
        report = convert_file(source, tmp_path / "m")
        assert (report.encoder, report.stage) == ("fpasst", "ssl")
        assert set(report.dropped) == {
            f"model.{head}.{name}"
            for head in ("head", "head_dist")
            for name in ("weight", "bias")
        }
        assert sum("/stem_" in path for path in report.fresh) == 6
        params, _ = files.load_model(tmp_path / "m")
        norm = params["encoder"]["block_3"]["norm1"]["scale"]
        np.testing.assert_array_equal(norm, tensors["blocks.3.norm1.weight"])
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        released = {k for k in goldens.manifest("fpasst") if "_head" not in k}
        assert torch_file.read(tmp_path / "back.pt").content.keys() == released


class TestHeads:
    def test_drawn_heads_are_the_same_every_time(self, tmp_path):
        tensors = small.state_dict("ATST-F")
        body = {key: tensors[key] for key in tensors if "_head" not in key}
        source = small.write(tmp_path / "ssl.pt", body)
        reports = [
            convert_file(source, tmp_path / name, seed=seed)
            for name, seed in (("a", 0), ("b", 0), ("c", 1))
        ]
        assert {report.stage for report in reports} == {"ssl"}
        a, b, c = (files.load_model(tmp_path / name)[0] for name in "abc")
        kernels = [params["strong_head"]["kernel"] for params in (a, b, c)]
        np.testing.assert_array_equal(kernels[0], kernels[1])
        assert np.abs(kernels[0] - kernels[2]).max() > 0.01
        bound = 48**-0.5
        assert 0.98 * bound < np.abs(kernels[0]).max() <= bound
        assert np.abs(kernels[0] - a["weak_head"]["kernel"]).max() > 0.01
        convert_back(tmp_path / "a", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", body)

    def test_a_weak_head_alone_detects_too(self, tmp_path):
        tensors = small.state_dict("fpasst")
        del tensors["strong_head.weight"], tensors["strong_head.bias"]
        report = convert_file(small.write(tmp_path / "w.pt", tensors), tmp_path / "m")
        assert report.stage == "weak"
        assert report.fresh["strong_head/kernel"] == "copy of weak_head/kernel"
        params, _ = files.load_model(tmp_path / "m")
        for name in ("kernel", "bias"):
            strong, weak = (params[f"{kind}_head"][name] for kind in ("strong", "weak"))
            np.testing.assert_array_equal(strong, weak)
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def heads(self, name="ATST-F", strong=None, weak=None):
        tensors = small.state_dict(name)
        for kind, n_classes in (("strong", strong), ("weak", weak)):
            width = tensors.pop(f"{kind}_head.weight").shape[1]
            del tensors[f"{kind}_head.bias"]
            if n_classes:
                shapes = {
                    f"{kind}_head.weight": ((n_classes, width), "float32"),
                    f"{kind}_head.bias": ((n_classes,), "float32"),
                }
                tensors |= small.arrays(shapes)
        return tensors

    def test_527_classes_are_audiosets(self, tmp_path):
        tensors = self.heads(weak=527)
        report = convert_file(small.write(tmp_path / "w.pt", tensors), tmp_path / "m")
        assert (report.stage, report.vocabulary) == ("weak", "audioset_527")
        assert any("order" in note for note in report.notes)
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_a_head_of_other_classes_is_dropped_and_comes_back(self, tmp_path):
        tensors = self.heads(strong=447, weak=527)
        report = convert_file(small.write(tmp_path / "w.pt", tensors), tmp_path / "m")
        assert (report.stage, report.vocabulary) == ("strong", "audioset_strong_447")
        assert report.dropped["weak_head.bias"].startswith("527 classes")
        assert report.fresh["weak_head/bias"] == "copy of strong_head/bias"
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_the_vocabulary_may_be_given(self, tmp_path):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"name": "mine", "classes": ["a", "b", "c"]}))
        source = small.write(tmp_path / "w.pt", self.heads(strong=3, weak=10))
        report = convert_file(source, tmp_path / "m", vocabulary=path)
        assert report.vocabulary == "mine"
        assert report.dropped.keys() >= {"weak_head.weight", "weak_head.bias"}
        params, description = files.load_model(tmp_path / "m")
        assert params["weak_head"]["bias"].shape == (3,)
        assert len(description["vocabulary"]["classes"]) == 3
        report = convert_file(source, tmp_path / "n")
        assert report.vocabulary == "audioset_strong_447"
        assert all("drawn" in how for how in report.fresh.values())
        for head in ("strong_head", "weak_head"):
            assert f"{head} is kept if --vocabulary lists its classes" in report.notes

    def test_weights_of_a_training_that_diverged_are_noted(self, tmp_path):
        tensors = self.heads(strong=447)
        tensors["strong_head.bias"][3] = np.nan
        report = convert_file(small.write(tmp_path / "w.pt", tensors), tmp_path / "m")
        (note,) = [note for note in report.notes if "NaN" in note]
        assert note.startswith("1 tensors") and "strong_head.bias" in note

    def test_the_stage_may_be_given(self, tmp_path):
        source = small.write(tmp_path / "w.pt", self.heads())
        assert convert_file(source, tmp_path / "m", stage="weak").stage == "weak"
        assert_refused("unknown stage 'week'", source, tmp_path / "n", stage="week")

    def test_beats_predictor_becomes_a_weak_head_in_our_order(self, reads, tmp_path):
        mids = vocab.load("audioset_527").mids
        shuffled = np.random.default_rng(0).permutation(527)
        predictor = small.arrays(
            {
                "predictor.weight": ((527, 48), "float32"),
                "predictor.bias": ((527,), "float32"),
            }
        )
        content = {
            "cfg": {"finetuned_model": True},
            "model": small.external("BEATs") | predictor,
            "label_dict": {i: mids[k] for i, k in enumerate(shuffled)},
        }
        source = reads(content)
        report = convert_file(source, tmp_path / "m")
        assert (report.stage, report.vocabulary) == ("weak", "audioset_527")
        bias = files.load_model(tmp_path / "m")[0]["weak_head"]["bias"]
        np.testing.assert_array_equal(bias[shuffled], predictor["predictor.bias"])
        for damaged in (None, {}, {0: mids[0]}, dict.fromkeys(range(527), mids[0])):
            reads(content | {"label_dict": damaged})
            report = convert_file(source, tmp_path / "n", force=True)
            assert "label_dict" in report.dropped["model.predictor.bias"]
            assert report.vocabulary == "audioset_strong_447"

    def test_a_beats_of_other_settings_is_refused(self, reads, tmp_path):
        def written(**cfg):
            return reads({"cfg": cfg, "model": small.external("BEATs")})

        source = written(deep_norm=True, max_distance=800, encoder_layerdrop=0.05)
        assert convert_file(source, tmp_path / "m").encoder == "beats"
        wrong = "its cfg says deep_norm=False; .* has True"
        assert_refused(wrong, written(deep_norm=False), tmp_path / "n")


class TestTypes:
    @pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
    def test_half_floats_come_back_as_they_were(self, tmp_path, dtype):
        tensors = {k: a.astype(dtype) for k, a in small.state_dict("ATST-F").items()}
        report = convert_file(small.write(tmp_path / "h.pt", tensors), tmp_path / "m")
        assert any("become float32, exactly" in note for note in report.notes)
        leaves = jax.tree.leaves(files.load_model(tmp_path / "m")[0])
        assert all(leaf.dtype == np.float32 for leaf in leaves)
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_float64_comes_back_only_where_nothing_was_lost(self, tmp_path):
        tensors = {
            k: a.astype(np.float64) for k, a in small.state_dict("fpasst").items()
        }
        tensors["model.norm.bias"] = tensors["model.norm.bias"] + 1e-12
        report = convert_file(small.write(tmp_path / "d.pt", tensors), tmp_path / "m")
        assert any(note.startswith("1 tensors are float64") for note in report.notes)
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        tensors["model.norm.bias"] = tensors["model.norm.bias"].astype(np.float32)
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_bits_of_special_numbers_survive(self, tmp_path):
        tensors = small.state_dict("BEATs")
        bits = np.array([0x7FC12345, 0x80000000, 1, 0xFF800000], np.uint32)
        for array in tensors.values():
            array.reshape(-1)[:4] = bits.view(np.float32)[: array.size]
        convert_file(small.write(tmp_path / "b.pt", tensors), tmp_path / "m")
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_safetensors_are_read_too(self, tmp_path):
        tensors = small.state_dict("ASIT")
        safetensors_writer.write(tmp_path / "a.safetensors", tensors)
        report = convert_file(tmp_path / "a.safetensors", tmp_path / "m")
        assert report.encoder == "asit"
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)

    def test_the_other_spelling_of_weight_norm_comes_back(self, tmp_path):
        name = "encoder.pos_conv.0."
        tensors = {
            key.replace(
                f"{name}parametrizations.weight.original0", f"{name}weight_g"
            ).replace(f"{name}parametrizations.weight.original1", f"{name}weight_v"): a
            for key, a in small.state_dict("BEATs").items()
        }
        assert f"model.model.{name}weight_g" in tensors
        convert_file(small.write(tmp_path / "b.pt", tensors), tmp_path / "m")
        convert_back(tmp_path / "m", tmp_path / "back.pt")
        assert_same_tensors(tmp_path / "back.pt", tensors)


def changed(name, **changes):
    tensors = small.state_dict(name)
    for key, array in changes.items():
        key = key.replace("__", ".")
        if array is None:
            del tensors[key]
        else:
            tensors[key] = array
    return tensors


ZEROS = np.zeros((3, 4), np.float32)
NORM = "model__norm__weight"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (lambda: changed("ASIT", **{NORM: None}), r"1 missing \(model.norm.weight\)"),
        (
            lambda: changed("ASIT", model__blocks__12__x=ZEROS),
            r"1 unexpected \(model.blocks.12.x\)",
        ),
        (
            lambda: changed("ASIT", **{NORM: ZEROS}),
            r"1 tensors .*model.norm.weight is \[3, 4\], expected \[48\]",
        ),
        (
            lambda: changed("fpasst", model__patch_embed__proj__weight=ZEROS),
            r"proj.weight is \[3, 4\], expected \[48, 16, 128, 2\]",
        ),
        (lambda: changed("M2D", model__x=ZEROS), r"unexpected \(model.x\)"),
        (lambda: changed("ASIT", strong_head__bias=None), "missing .strong_head.bias"),
        (
            lambda: changed("ASIT", strong_head__bias=np.float32(1)),
            r"strong_head.bias is \[\], expected \[447\]",
        ),
        (
            lambda: changed("ASIT", **{NORM: np.zeros(48, np.int64)}),
            "model.norm.weight is int64",
        ),
        (
            lambda: changed("ASIT_rnn", seq_model__rnn__weight_hh_l0=ZEROS),
            r"weight_hh_l0 is \[3, 4\]: neither",
        ),
        (
            lambda: changed("ASIT_rnn", seq_model__rnn__bias_hh_l0=None),
            r"missing \(seq_model.rnn.bias_hh_l0\)",
        ),
        (
            lambda: changed("ATST-F_bilstm256", seq_model__embedding__bias=None),
            "missing .seq_model.embedding.bias",
        ),
        (
            lambda: changed(
                "ASIT_rnn",
                seq_model__embedding__weight=ZEROS,
                seq_model__embedding__bias=ZEROS,
            ),
            "2 tensors have no place in this architecture: seq_model.embedding.weight",
        ),
        (
            lambda: changed(
                "BEATs",
                model__model__encoder__layers__7__self_attn__relative_attention_bias__weight=np.ones(
                    (320, 12), np.float32
                ),
            ),
            "should be copies of one, and are not",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_left(tmp_path, tensors, message):
    source = small.write(tmp_path / "in.pt", tensors())
    assert_refused(message, source, tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"just text", "a text file that begins 'just text'"),
        (b"PK\3\4" + bytes(100), "not a checkpoint"),
        (b"cos\nsystem\n(S'true'\ntR.", "not a checkpoint"),
        (bytes(5000), "nothing but zeros"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, message):
    (tmp_path / "in.pt").write_bytes(content)
    assert_refused(message, tmp_path / "in.pt", tmp_path / "m")


def test_another_encoder_than_was_said_is_refused(tmp_path):
    source = small.write(tmp_path / "in.pt", small.state_dict("BEATs"))
    assert_refused("checkpoint of beats", source, tmp_path / "m", model="m2d")


class TestPlaces:
    def test_a_model_is_replaced_only_if_told_so(self, tmp_path):
        a = small.write(tmp_path / "a.pt", small.state_dict("ATST-F"))
        b = small.write(tmp_path / "b.pt", small.state_dict("ASIT"))
        convert_file(a, tmp_path / "m")
        assert_refused("holds a model already.*--force", b, tmp_path / "m")
        assert files.load_model(tmp_path / "m")[1]["encoder"] == "atst_frame"
        convert_file(b, tmp_path / "m", force=True)
        assert files.load_model(tmp_path / "m")[1]["encoder"] == "asit"
        # What the first model's checkpoint had besides is not kept beside the second.
        assert not (tmp_path / "m" / files.UNUSED_FILE).exists()
        assert_refused("no such file", tmp_path / "x.pt", tmp_path / "n")
        assert_refused("is a file|not a folder", a, tmp_path / "b.pt")
        convert_back(tmp_path / "m", tmp_path / "o.pt")
        with pytest.raises(InputError, match="--force"):
            convert_back(tmp_path / "m", tmp_path / "o.pt")
        convert_back(tmp_path / "m", tmp_path / "o.pt", force=True)
        for place, message in (("", "is a folder"), ("no/o.pt", "no folder")):
            with pytest.raises(InputError, match=message):
                convert_back(tmp_path / "m", tmp_path / place)

    def test_ctrl_c_leaves_nothing(self, tmp_path, monkeypatch):
        source = small.write(tmp_path / "a.pt", small.state_dict("ATST-F"))
        made = []

        def interrupted(*args):
            made.append(args)
            if len(made) == 50:
                raise KeyboardInterrupt
            return original(*args)

        original = mapping._made
        monkeypatch.setattr(mapping, "_made", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert_file(source, tmp_path / "m")
        assert os.listdir(tmp_path) == ["a.pt"]

    def test_a_damaged_rest_is_noticed(self, tmp_path):
        source = small.write(tmp_path / "a.pt", small.state_dict("ATST-F"))
        convert_file(source, tmp_path / "m")
        rest = tmp_path / "m" / files.UNUSED_FILE
        rest.write_bytes(rest.read_bytes()[:-1] + b"x")
        with pytest.raises(InputError, match="sha256"):
            convert_back(tmp_path / "m", tmp_path / "o.pt")
        rest.unlink()
        with pytest.raises(InputError, match="copy the model folder whole"):
            convert_back(tmp_path / "m", tmp_path / "o.pt")
        files.load_model(tmp_path / "m")
        assert not (tmp_path / "o.pt").exists()

    @pytest.mark.parametrize(
        "changes",
        [
            {"types": {"model.norm.bias": "object"}},
            {"types": {"nowhere": "float16"}},
            {"types": [1]},
            {"spelled": 3},
            {"fresh": None},
        ],
    )
    def test_a_damaged_provenance_is_one_line(self, tmp_path, changes):
        source = small.write(tmp_path / "a.pt", small.state_dict("ASIT"))
        convert_file(source, tmp_path / "m")
        path = tmp_path / "m" / "model.json"
        described = json.loads(path.read_text())
        described["provenance"] |= changes
        path.write_text(json.dumps(described))
        with pytest.raises(InputError, match="provenance is damaged"):
            convert_back(tmp_path / "m", tmp_path / "o.pt")


@pytest.mark.parametrize("name", ["ATST-F", "M2D", "BEATs", "frame_mn06"])
def test_a_model_trained_here_is_filled_up_for_the_original(tmp_path, name):
    tensors = small.state_dict(name)
    convert_file(small.write(tmp_path / "a.pt", tensors), tmp_path / "m")
    params, description = files.load_model(tmp_path / "m")
    files.save_model(tmp_path / "t", params, description | {"provenance": {"seed": 1}})
    report = convert_back(tmp_path / "t", tmp_path / "o.pt")
    found = torch_file.read(tmp_path / "o.pt").content
    assert found.keys() == tensors.keys()
    for key, array in tensors.items():
        assert (found[key].shape, found[key].dtype) == (array.shape, array.dtype), key
        if key not in report.filled and key != "model.atst.pos_embed":
            assert found[key].tobytes() == array.tobytes(), key
    if name == "M2D":
        golden = goldens.load("ops")
        for kind in ("wcos", "wsin"):
            kernel = found[f"model.to_spec.stft.{kind}"][[0, 7, 200], 0]
            expected = golden[f"m2d_stft_{kind}_rows_0_7_200"]
            np.testing.assert_array_equal(kernel[:, ::5], expected)
    if name == "ATST-F":
        assert not found["model.atst.pos_embed"][:, 0].any()


def test_a_head_that_no_training_reached_is_left_out(tmp_path):
    tensors = small.state_dict("ATST-F")
    convert_file(small.write(tmp_path / "a.pt", tensors), tmp_path / "m")
    params, description = files.load_model(tmp_path / "m")
    drawn = dict.fromkeys(("strong_head/kernel", "strong_head/bias"), "drawn")
    of_training = {"provenance": {"seed": 1, "fresh": drawn}, "stage": "weak"}
    files.save_model(tmp_path / "t", params, description | of_training)
    report = convert_back(tmp_path / "t", tmp_path / "o.pt")
    assert (report.left_out, report.notes) == (("strong_head",), ())
    found = torch_file.read(tmp_path / "o.pt").content
    assert tensors.keys() - found.keys() == {"strong_head.weight", "strong_head.bias"}


@pytest.mark.parametrize(
    ("compression", "message"),
    [
        ("none", "layout for encoder 'tiny_asit'"),
        ("fshift-4", "model with compression=fshift-4.*at compression=none"),
    ],
)
def test_only_released_layouts_can_be_written(tmp_path, compression, message):
    described = {
        **architecture.describe("tiny_asit", compression=compression),
        "vocabulary": vocab.load("audioset_strong_447").to_json(),
        "stage": "strong",
        "licence": "CC0",
        "provenance": {},
    }
    shapes = architecture.parameter_shapes(described)
    flat = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    files.save_model(tmp_path / "m", parameter_tree.nested(flat), described)
    with pytest.raises(InputError, match=message):
        convert_back(tmp_path / "m", tmp_path / "o.pt")


MEASURED = """
import sys
from jaxsed.weights.convert import convert_file
report = convert_file(sys.argv[1], sys.argv[2])
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(report.seconds, int(peak[0].split()[1]) / 1e6)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_a_file_of_full_size_takes_seconds_and_little_memory():
    shapes = goldens.manifest("BEATs")
    full = {key: np.zeros(entry["shape"], np.float32) for key, entry in shapes.items()}
    # Not `tmp_path`, which pytest keeps for the next three runs.
    with tempfile.TemporaryDirectory() as folder:
        source = small.write(Path(folder) / "full.pt", full)
        assert source.stat().st_size > 360e6
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, str(source), f"{folder}/m"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
    seconds, peak_gb = map(float, done.stdout.split())
    assert seconds < 15
    assert peak_gb < 1.2
