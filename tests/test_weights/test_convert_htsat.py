"""Checkpoints of HTS-AT, a third as wide, to models and back."""

import dataclasses

import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import htsat, sed
from jaxsed.weights import architecture, files, torch_file
from jaxsed.weights.convert import convert_file
from jaxsed.weights.convert_back import convert_back
from jaxsed.weights.layouts import htsat as layout
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens
from tests.test_weights import small_checkpoints as small

MANIFEST = goldens.manifest("htsat")
DERIVED = {key for key, entry in MANIFEST.items() if "derived" in entry}
UNUSED = {
    "sed_model.bn0.num_batches_tracked",
    "sed_model.head.weight",
    "sed_model.head.bias",
}


@pytest.fixture(autouse=True, scope="module")
def small_encoder():
    """The full name builds a small encoder, which is traced once."""
    config = dataclasses.replace(htsat.FULL, width=32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            sed.ENCODERS,
            "htsat",
            lambda dtype, compression: htsat.htsat(dtype, compression, config),
        )
        traced = {}
        trace = architecture.parameter_shapes

        def once(description):
            key = len(description["vocabulary"]["classes"])
            if key not in traced:
                traced[key] = trace(description)
            return traced[key]

        patch.setattr(architecture, "parameter_shapes", once)
        yield


@pytest.fixture(scope="module")
def tensors():
    made = small.arrays(
        {
            key: ([n // 3 if n % 96 == 0 else n for n in entry["shape"]], "float32")
            for key, entry in MANIFEST.items()
        }
    )
    made["sed_model.bn0.num_batches_tracked"] = np.array(7, np.int64)
    return made | {
        key: array.astype(MANIFEST[key]["dtype"])
        for key, array in layout.derived(made).items()
    }


def assert_comes_back(folder, path, tensors):
    convert_back(folder, path)
    found = torch_file.read(path).content
    assert found.keys() == tensors.keys()
    for key, array in tensors.items():
        assert found[key].dtype == array.dtype and found[key].shape == array.shape, key
        assert found[key].tobytes() == array.tobytes(), key


def test_what_is_no_weight_is_computed_as_in_the_original(tensors):
    assert layout.derived(tensors).keys() == DERIVED
    for key in DERIVED:
        assert list(tensors[key].shape) == MANIFEST[key]["shape"], key


def test_a_released_file_converts_and_comes_back_bit_by_bit(tmp_path, tensors):
    source = small.write(tmp_path / "in.ckpt", tensors)
    report = convert_file(source, tmp_path / "m")
    assert (report.encoder, report.stage) == ("htsat", "weak")
    assert report.vocabulary == "audioset_527" and not report.fresh
    assert report.licence == "MIT (HTS-AT)"
    assert report.dropped.keys() == DERIVED | UNUSED
    params, description = files.load_model(tmp_path / "m")
    assert description["head"] == "token_semantic"
    taps = tensors["sed_model.tscam_conv.weight"]
    low_then_high = np.concatenate([taps[:, :, 0], taps[:, :, 1]], axis=1)
    np.testing.assert_array_equal(
        params["weak_head"]["taps"], low_then_high.transpose(2, 1, 0)
    )
    assert_comes_back(tmp_path / "m", tmp_path / "back.ckpt", tensors)


def test_without_the_lightning_module_it_is_the_same(tmp_path, tensors):
    bare = {key.removeprefix("sed_model."): array for key, array in tensors.items()}
    convert_file(small.write(tmp_path / "in.pt", bare), tmp_path / "m")
    assert_comes_back(tmp_path / "m", tmp_path / "back.pt", tensors)


@pytest.mark.parametrize(
    "key",
    [
        "sed_model.logmel_extractor.melW",
        "sed_model.spectrogram_extractor.stft.conv_imag.weight",
        "sed_model.layers.1.blocks.1.attn_mask",
    ],
)
def test_another_front_end_or_image_is_refused(tmp_path, tensors, key):
    other = tensors | {key: tensors[key][::-1]}
    source = small.write(tmp_path / "in.ckpt", other)
    with pytest.raises(InputError, match=f"{key} is not what htsat has"):
        convert_file(source, tmp_path / "m")


def test_other_classes_leave_a_head_to_be_drawn(tmp_path, tensors):
    taps = tensors["sed_model.tscam_conv.weight"][:50]
    bias = tensors["sed_model.tscam_conv.bias"][:50]
    other = {"sed_model.tscam_conv.weight": taps, "sed_model.tscam_conv.bias": bias}
    source = small.write(tmp_path / "in.ckpt", tensors | other)
    report = convert_file(source, tmp_path / "m")
    assert report.fresh.keys() == {"weak_head/taps", "weak_head/bias"}
    assert report.heads_are_drawn
    params, _ = files.load_model(tmp_path / "m")
    largest = np.abs(params["weak_head"]["taps"]).max() * (3 * 512) ** 0.5
    assert 0.99 < largest <= 1


def test_a_model_trained_here_gets_what_the_original_loads(tmp_path, tensors):
    params = from_released("htsat", tensors)
    files.save_model(
        tmp_path / "m",
        params,
        {
            **architecture.describe("htsat", head="token_semantic"),
            "vocabulary": {"name": "some", "classes": [f"c{i}" for i in range(527)]},
            "stage": "weak",
            "licence": "none",
            "provenance": {},
        },
    )
    report = convert_back(tmp_path / "m", tmp_path / "back.ckpt")
    assert report.filled.keys() == DERIVED | UNUSED
    found = torch_file.read(tmp_path / "back.ckpt").content
    assert found.keys() == tensors.keys()
    for key in tensors.keys() - UNUSED:
        np.testing.assert_array_equal(found[key], tensors[key], err_msg=key)
        assert found[key].dtype == tensors[key].dtype, key


def test_a_linear_head_has_keys_of_its_own(tensors):
    params = from_released("htsat", tensors)
    params["weak_head"] = {
        "kernel": np.ones((512, 3), np.float32),
        "bias": np.ones(3, np.float32),
    }
    released = to_released("htsat", params)
    assert released["weak_head.weight"].shape == (3, 512)
    assert not any("tscam" in key for key in released)
    back = from_released("htsat", released)["weak_head"]
    np.testing.assert_array_equal(back["kernel"], params["weak_head"]["kernel"])
