"""Checkpoints of AST and SSAST, and what they start from, to models and back."""

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights import files, torch_file
from jaxsed.weights.convert import convert_file
from jaxsed.weights.convert_back import convert_back
from jaxsed.weights.layouts import ast as layout
from jaxsed.weights.position_tables import fitted
from tests.test_weights import small_checkpoints as small

UNUSED = {"module.v.head.weight", "module.v.head.bias"} | {
    "module.v.head_dist.weight",
    "module.v.head_dist.bias",
}


@pytest.fixture(autouse=True)
def small_encoders(monkeypatch):
    small.shrink_encoders(monkeypatch)


def written(tmp_path, tensors):
    return small.write(tmp_path / "in.pth", tensors)


def assert_comes_back(tmp_path, tensors):
    back = convert_back(tmp_path / "m", tmp_path / "back.pth")
    found = torch_file.read(tmp_path / "back.pth").content
    assert found.keys() == tensors.keys() and not back.filled
    for key, array in tensors.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape, key
        assert found[key].tobytes() == array.tobytes(), key


def deit():
    tensors = {
        key.removeprefix("module.v."): array
        for key, array in small.state_dict("ast").items()
        if "mlp_head" not in key
    }
    shapes = {"pos_embed": (1, 578, 48), "patch_embed.proj.weight": (48, 3, 16, 16)}
    return tensors | small.arrays({k: (n, "float32") for k, n in shapes.items()})


@pytest.mark.parametrize("name", ["ast", "ast_s16"])
def test_a_released_ast_converts_and_comes_back_bit_by_bit(tmp_path, name):
    tensors = small.state_dict(name)
    report = convert_file(written(tmp_path, tensors), tmp_path / "m")
    assert (report.encoder, report.stage) == (name, "weak")
    assert report.vocabulary == "audioset_527"
    assert report.licence == "BSD-3-Clause"
    assert report.dropped.keys() == UNUSED
    assert set(report.used) | UNUSED == tensors.keys()
    # The head of frames is not that of clips: a norm lies between them.
    assert all(how.startswith("drawn") for how in report.fresh.values())
    assert report.fresh.keys() == {"strong_head/kernel", "strong_head/bias"}
    assert report.drawn_heads == ["strong_head"]
    params, description = files.load_model(tmp_path / "m")
    assert (description["head"], description["frontend"]) == ("tokens", "ast")
    kernel = tensors["module.mlp_head.1.weight"].T
    np.testing.assert_array_equal(params["weak_head"]["kernel"], kernel)
    scale = params["weak_head"]["norm"]["scale"]
    np.testing.assert_array_equal(scale, tensors["module.mlp_head.0.weight"])
    assert_comes_back(tmp_path, tensors)


@pytest.mark.parametrize("name", ["ssast", "ssast_frame"])
def test_a_pretrained_ssast_is_told_by_its_mask_token(tmp_path, name):
    tensors = small.state_dict(name)
    report = convert_file(written(tmp_path, tensors), tmp_path / "m")
    assert (report.encoder, report.stage) == (name, "ssl")
    sizes = {"module.p_input_fdim", "module.p_input_tdim"}
    assert set(report.dropped) == sizes | {key for key in tensors if "v.head" in key}
    assert not report.fresh
    params, description = files.load_model(tmp_path / "m")
    assert description["head"] == "masked_patches"
    token = tensors["module.mask_embed"][0, 0]
    np.testing.assert_array_equal(params["mask_token"], token)
    kernel = tensors["module.gpredlayer.2.weight"].T
    np.testing.assert_array_equal(params["generative_head"]["fc2"]["kernel"], kernel)
    assert_comes_back(tmp_path, tensors)


def test_a_fine_tuned_ssast_has_to_be_called_so(tmp_path):
    tensors = small.state_dict("ast")
    source = written(tmp_path, tensors)
    assert convert_file(source, tmp_path / "a").encoder == "ast"
    report = convert_file(source, tmp_path / "m", model="ssast_s10")
    assert (report.encoder, report.stage) == ("ssast_s10", "weak")
    assert_comes_back(tmp_path, tensors)


def test_a_model_that_is_not_wrapped_is_read_too(tmp_path):
    tensors = small.state_dict("ast_s16")
    bare = {key.removeprefix("module."): array for key, array in tensors.items()}
    for name, content in (("m", tensors), ("bare", bare)):
        report = convert_file(written(tmp_path, content), tmp_path / name)
        assert (report.encoder, report.stage) == ("ast_s16", "weak")
        assert set(report.used) | report.dropped.keys() == content.keys()
    both = [(tmp_path / m / "params.safetensors").read_bytes() for m in ("m", "bare")]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("encoder", "name", "stored", "wanted"),
    [
        ("ast", "deit", (24, 24), layout.OVERLAPPING_GRID),
        ("ast_s16", "deit", (24, 24), layout.GRID),
        ("ast_s16", "ast", layout.OVERLAPPING_GRID, layout.GRID),
        ("ssast_s10", "ssast", layout.GRID, layout.OVERLAPPING_GRID),
    ],
)
def test_what_they_start_from_is_made_to_fit(tmp_path, encoder, name, stored, wanted):
    if name == "deit":
        tensors, prefix = deit(), ""
    else:
        tensors, prefix = small.state_dict(name), "module.v."
    report = convert_file(written(tmp_path, tensors), tmp_path / "m", model=encoder)
    assert (report.encoder, report.stage) == (encoder, "ssl")
    params, _ = files.load_model(tmp_path / "m")
    embed = params["encoder"]["embed"]
    table = fitted(tensors[f"{prefix}pos_embed"], stored, wanted)[0]
    np.testing.assert_array_equal(embed["positions"], table)
    kernel = tensors[f"{prefix}patch_embed.proj.weight"].sum(axis=1)
    np.testing.assert_allclose(embed["patch"]["kernel"], kernel.T, atol=1e-6)
    block = params["encoder"]["block_11"]["mlp"]["fc1"]["bias"]
    np.testing.assert_array_equal(block, tensors[f"{prefix}blocks.11.mlp.fc1.bias"])


def transformers_keys(tensors):
    """The same numbers as `ASTForAudioClassification` keeps them."""
    made = {}
    model = "audio_spectrogram_transformer"
    for key, array in tensors.items():
        if ".head" in key:
            continue
        key = key.replace("module.v.", f"{model}.").replace("blocks", "encoder.layer")
        if "qkv" in key:
            for name, part in zip(("query", "key", "value"), np.split(array, 3)):
                made[key.replace("attn.qkv", f"attention.attention.{name}")] = part
            continue
        for theirs, ours in {
            "cls_token": "embeddings.cls_token",
            "dist_token": "embeddings.distillation_token",
            "pos_embed": "embeddings.position_embeddings",
            "patch_embed.proj": "embeddings.patch_embeddings.projection",
            "attn.proj": "attention.output.dense",
            "norm1": "layernorm_before",
            "norm2": "layernorm_after",
            "mlp.fc1": "intermediate.dense",
            "mlp.fc2": "output.dense",
            f"{model}.norm": f"{model}.layernorm",
            "module.mlp_head.0": "classifier.layernorm",
            "module.mlp_head.1": "classifier.dense",
        }.items():
            key = key.replace(theirs, ours)
        made[key] = array
    return made


@pytest.mark.parametrize("name", ["ast", "ast_s16"])
def test_files_of_the_transformers_library_are_the_same_model(tmp_path, name):
    tensors = small.state_dict(name)
    convert_file(written(tmp_path, tensors), tmp_path / "m")
    theirs = transformers_keys(tensors)
    report = convert_file(written(tmp_path, theirs), tmp_path / "t")
    assert (report.encoder, report.stage) == (name, "weak")
    assert not report.dropped and report.vocabulary == "audioset_527"
    both = [(tmp_path / m / "params.safetensors").read_bytes() for m in ("m", "t")]
    assert both[0] == both[1]
    convert_back(tmp_path / "t", tmp_path / "back.pth")
    found = torch_file.read(tmp_path / "back.pth").content
    assert found.keys() == tensors.keys()
    for key in tensors.keys() - UNUSED:
        np.testing.assert_array_equal(found[key], tensors[key])


def test_other_clip_lengths_are_refused_by_name(tmp_path):
    tensors = small.state_dict("ast")
    tensors["module.v.pos_embed"] = np.zeros((1, 146, 48), np.float32)
    message = r"pos_embed is \[1, 146, 48\] and should be \[1, 1214, any\]"
    with pytest.raises(InputError, match=message):
        convert_file(written(tmp_path, tensors), tmp_path / "m")


def test_a_model_trained_here_is_filled_up_for_the_original(tmp_path):
    source = written(tmp_path, small.state_dict("ssast"))
    convert_file(source, tmp_path / "converted")
    params, description = files.load_model(tmp_path / "converted")
    description |= {"provenance": {}}
    files.save_model(tmp_path / "m", params, description)
    back = convert_back(tmp_path / "m", tmp_path / "back.pth")
    found = torch_file.read(tmp_path / "back.pth").content
    assert back.filled.keys() == UNUSED | {
        "module.p_input_fdim",
        "module.p_input_tdim",
    }
    assert (found["module.p_input_fdim"], found["module.p_input_tdim"]) == (128, 1024)
    assert found["module.mask_embed"].shape == (1, 1, 48)
    assert found["module.cpredlayer.2.weight"].shape == (256, 48)


def test_the_front_end_of_another_data_set_is_said_on_the_way_back(tmp_path):
    convert_file(written(tmp_path, small.state_dict("ast")), tmp_path / "m")
    params, description = files.load_model(tmp_path / "m")
    assert not convert_back(tmp_path / "m", tmp_path / "own.pth").notes
    description |= {"provenance": {}, "frontend": "ast_esc50"}
    files.save_model(tmp_path / "t", params, description)
    (note,) = convert_back(tmp_path / "t", tmp_path / "other.pth").notes
    assert "front-end ast_esc50 is not in the file" in note and note.endswith("of ast")
