import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights.layouts.families import FAMILIES, rules_for
from jaxsed.weights.mapping import (
    check_shapes,
    from_released,
    mapped,
    spelled,
    to_released,
)
from tests import goldens

MANIFESTS = {
    "atst_frame": ["ATST-F", "ATST-F_rnn", "ATST-F_bilstm256"],
    "fpasst": ["fpasst", "fpasst_rnn"],
    "m2d": ["M2D", "M2D_rnn"],
    "asit": ["ASIT", "ASIT_rnn"],
}
DROPPED = {
    "atst_frame": {"model.atst.mask_embed"},
    "m2d": {
        "model.backbone.norm_stats",
        "model.to_spec.mel_basis",
        "model.to_spec.stft.wsin",
        "model.to_spec.stft.wcos",
        "model.to_spec.stft.window_mask",
    },
}
CASES = [(encoder, name) for encoder, names in MANIFESTS.items() for name in names]


def small_state_dict(name, divide=96):
    """The released keys with every large axis divided, so that tests stay small.

    Each array holds numbers of its own; the first element tells the key.
    """
    arrays = {}
    for index, (key, entry) in enumerate(goldens.manifest(name).items()):
        shape = [
            n // divide if n % divide == 0 and n > 250 else n for n in entry["shape"]
        ]
        size = int(np.prod(shape))
        values = index * 10_000 + np.arange(size) % 9973
        arrays[key] = values.astype(np.float32).reshape(shape)
    return arrays


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


@pytest.mark.parametrize(("encoder", "name"), CASES)
def test_there_and_back_loses_only_what_is_named(encoder, name):
    released = small_state_dict(name)
    back = to_released(encoder, from_released(encoder, released))
    lost = set(released) - set(back)
    assert lost == DROPPED.get(encoder, set())
    for key, array in back.items():
        expected = released[key].copy()
        if key == "model.atst.pos_embed":
            expected[:, 0] = 0  # the CLS position, which the encoder never reads
        np.testing.assert_array_equal(array, expected, err_msg=key)


@pytest.mark.parametrize(("encoder", "name"), CASES)
def test_no_number_is_used_twice(encoder, name):
    params = from_released(encoder, small_state_dict(name))
    keys = set()
    for path, array in leaves(params):
        assert array.dtype == np.float32 and array.flags.c_contiguous, path
        found = set(np.unique(array.ravel() // 10_000))
        assert not found & keys, path
        keys |= found
    dropped = DROPPED.get(encoder, set())
    assert len(keys) == len(goldens.manifest(name)) - len(dropped)


def test_dense_kernels_are_transposed_and_directions_stacked():
    released = small_state_dict("ATST-F_rnn")
    params = from_released("atst_frame", released)
    fc1 = released["model.atst.blocks.7.mlp.fc1.weight"]
    np.testing.assert_array_equal(
        params["encoder"]["block_7"]["mlp"]["fc1"]["kernel"], fc1.T
    )
    layer = params["sequence"]["layer_1"]
    for slot, suffix in enumerate(("", "_reverse")):
        weight = released[f"seq_model.rnn.weight_ih_l1{suffix}"]
        np.testing.assert_array_equal(layer["input_kernel"][slot], weight.T)
        bias = released[f"seq_model.rnn.bias_hh_l1{suffix}"]
        np.testing.assert_array_equal(layer["hidden_bias"][slot], bias)


@pytest.mark.parametrize("drop", ["weak_head", "strong_head", "seq_model"])
def test_heads_and_sequence_model_may_be_absent(drop):
    released = {
        key: array
        for key, array in small_state_dict("ATST-F_rnn").items()
        if not key.startswith(drop)
    }
    params = from_released("atst_frame", released)
    ours = {"seq_model": "sequence"}.get(drop, drop)
    everything = {"encoder", "sequence", "strong_head", "weak_head"}
    assert set(params) == everything - {ours}


@pytest.mark.parametrize(
    "key",
    [
        "model.atst.blocks.11.attn.qkv.weight",
        "model.atst.pos_embed",
        "weak_head.bias",
        "seq_model.rnn.bias_hh_l0_reverse",
    ],
)
def test_a_missing_key_is_named(key):
    released = small_state_dict("ATST-F_rnn")
    del released[key]
    with pytest.raises(InputError, match=rf"1 missing \({key}\)"):
        from_released("atst_frame", released)


def test_a_missing_lower_recurrent_layer_is_noticed():
    released = {
        key: array
        for key, array in small_state_dict("ATST-F_rnn").items()
        if "_l0" not in key
    }
    with pytest.raises(InputError, match=r"8 missing \(seq_model.rnn.weight_ih_l0"):
        from_released("atst_frame", released)


@pytest.mark.parametrize(
    "key",
    ["model.atst.blocks.12.norm1.weight", "optimizer", "seq_model.rnn.weight_ih_l9999"],
)
def test_an_unexpected_key_is_named(key):
    released = {**small_state_dict("ATST-F"), key: np.zeros(3)}
    with pytest.raises(InputError, match=rf"unexpected.*{key}|missing.*_l0"):
        from_released("atst_frame", released)


def test_another_encoders_checkpoint_is_refused():
    with pytest.raises(InputError, match=r"missing.*unexpected.*another encoder"):
        from_released("fpasst", small_state_dict("ATST-F"))


def test_front_end_constants_of_an_atst_checkpoint_are_dropped():
    released = small_state_dict("ATST-F")
    plain = from_released("atst_frame", released)
    released["model.atst_mel.mel_transform.spectrogram.window"] = np.ones(1024)
    again = from_released("atst_frame", released)
    assert [path for path, _ in leaves(again)] == [path for path, _ in leaves(plain)]


def test_a_wrong_layout_is_named():
    released = small_state_dict("fpasst")
    released["model.conv_in_2.weight"] = np.zeros((32, 16))
    with pytest.raises(InputError, match=r"conv_in_2.weight has shape \(32, 16\)"):
        from_released("fpasst", released)


def test_unknown_encoders_and_foreign_parameters_are_refused():
    with pytest.raises(InputError, match="encoder 'tiny_fpasst'; there are layouts"):
        from_released("tiny_fpasst", {})
    params = from_released("fpasst", small_state_dict("fpasst"))
    params["encoder"]["adapter"] = np.zeros(3)
    with pytest.raises(InputError, match="encoder/adapter is not part of it"):
        to_released("fpasst", params)
    del params["encoder"]["adapter"], params["encoder"]["norm"]
    with pytest.raises(InputError, match="encoder/norm/bias is missing"):
        to_released("fpasst", params)


def test_every_dropped_key_has_a_reason():
    for family in FAMILIES.values():
        assert all(len(dropped.reason) > 10 for dropped in family.dropped)


def test_other_spellings_are_found_and_named():
    rules = rules_for("beats", ())
    keys = [rule.aliases[0] if rule.aliases else rule.key for rule in rules]
    found = spelled("beats", rules, keys)
    assert list(found.values()) == keys
    changed = {key for key, spelling in found.items() if key != spelling}
    assert changed == {rule.key for rule in rules if rule.aliases}
    assert len(changed) == 2


def test_shapes_are_checked_in_the_files_own_layout():
    released = small_state_dict("ASIT")
    rules = rules_for("asit", released)
    shapes = {
        path: array.shape for path, array in leaves(from_released("asit", released))
    }
    check_shapes(rules, released, shapes)
    key = "model.blocks.3.mlp.fc1.weight"
    wrong = {**released, key: released[key].T}
    with pytest.raises(
        InputError, match=rf"1 tensors .*{key} is \[8, 32\], expected \[32, 8\]"
    ):
        check_shapes(rules, wrong, shapes)
    del shapes["encoder/norm/bias"]
    with pytest.raises(
        InputError, match=r"no place in this architecture: model\.norm\.bias"
    ):
        check_shapes(rules, released, shapes)


def test_parameters_are_made_when_asked_for():
    released = small_state_dict("ATST-F_rnn")
    rules = rules_for("atst_frame", released)
    expected = dict(leaves(from_released("atst_frame", released)))
    shapes = {path: array.shape for path, array in expected.items()}
    lazy = mapped(rules, released, shapes)
    assert lazy.keys() == expected.keys()
    for path, parameter in lazy.items():
        assert parameter.shape == expected[path].shape
        np.testing.assert_array_equal(np.asarray(parameter), expected[path])


def test_rows_that_are_left_out_are_told():
    for encoder, manifests in MANIFESTS.items():
        for rule in rules_for(encoder, ()):
            if rule.transform.rest is None:
                continue
            assert rule.key == "model.atst.pos_embed"
            array = small_state_dict(manifests[0])[rule.key]
            back = rule.transform.backward(rule.transform.forward(array)).copy()
            assert not back[rule.transform.rest].any()
            back[rule.transform.rest] = array[rule.transform.rest]
            np.testing.assert_array_equal(back, array)
