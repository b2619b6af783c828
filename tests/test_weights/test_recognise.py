import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.weights.layouts.families import FAMILIES, rules_for
from jaxsed.weights.recognise import MARKS, recognise
from jaxsed.weights.released_layout import EXTERNALS, RELEASED, released_prefix
from jaxsed.weights.torch_content import Placeholder
from tests import goldens
from tests.test_weights import small_checkpoints as small


def hollow(manifest):
    """Arrays of the full shapes that take no memory."""
    return {
        key: np.broadcast_to(np.zeros((), entry["dtype"]), entry["shape"])
        for key, entry in manifest.items()
    }


def released(name):
    return hollow(goldens.manifest(name))


def external(start):
    manifest = goldens.manifest("external")
    (name,) = [name for name in manifest if name.startswith(start)]
    return hollow(manifest[name])


@pytest.mark.parametrize(("name", "encoder"), small.MANIFESTS.items())
@pytest.mark.parametrize("container", ["", "model", "state_dict", "a.b"])
def test_released_files_are_told_in_any_container(name, encoder, container):
    content = tensors = released(name)
    for step in reversed(container.split(".") if container else []):
        content = {"epoch": 3, step: content}
    found = recognise(content)
    assert (found.encoder, found.origin) == (encoder, RELEASED)
    assert found.container == container
    assert found.prefix == released_prefix(encoder)
    assert found.arrays.keys() == tensors.keys()
    assert not found.dropped and not found.notes and found.stage is None


SIZES_OF_DEIT = {"ssast_deit_small": 384, "ssast_deit_tiny": 192}


@pytest.mark.parametrize(
    ("manifest", "encoder"),
    [
        ("ssast", "ssast"),
        ("ssast", "ssast_deit_small"),
        ("ssast", "ssast_deit_tiny"),
        ("ssast_frame", "ssast_frame"),
        ("ssast_frame", "ssast_deit_tiny_frame"),
    ],
)
def test_pretrained_ssasts_are_told_by_patches_and_width(manifest, encoder):
    width = SIZES_OF_DEIT.get(encoder.removesuffix("_frame"), 768)
    sizes = {factor * 768: factor * width for factor in (1, 3, 4)}
    entries = {
        key: {**entry, "shape": [sizes.get(size, size) for size in entry["shape"]]}
        for key, entry in goldens.manifest(manifest).items()
    }
    assert recognise(hollow(entries)).encoder == encoder


EXTERNAL = [
    ("BEATs", "beats", ["", "model.", "state_dict.model."]),
    (
        "ATST-Frame_ssl",
        "atst_frame",
        ["", "model.teacher.encoder.", "encoder.encoder.", "module.encoder."],
    ),
    ("M2D", "m2d", ["", "module.ar.runtime.backbone.", "backbone."]),
    ("deit", "fpasst", ["", "module."]),
    ("ASiT", "asit", ["", "module.", "backbone.", "module.backbone."]),
]


@pytest.mark.parametrize(
    ("start", "encoder", "prefix"),
    [(start, name, prefix) for start, name, all_ in EXTERNAL for prefix in all_],
)
def test_originals_are_told_behind_any_prefix(start, encoder, prefix):
    tensors = external(start)
    found = recognise({"cfg": {"x": 1}, "teacher": small.behind(prefix, tensors)})
    assert found.encoder == encoder
    assert found.origin in EXTERNALS
    assert (found.container, found.prefix) == ("teacher", prefix)
    needed = {rule.key for rule in rules_for(encoder, ())} - found.lacks
    spellings = {
        spelling: rule.key
        for rule in rules_for(encoder, ())
        for spelling in (rule.key, *rule.aliases)
    }
    assert needed <= {spellings.get(key, key) for key in found.arrays}
    assert len(found.arrays) + len(found.dropped) >= len(tensors)
    assert found.licence


@pytest.mark.parametrize("order", [1, -1])
def test_the_teacher_is_taken_and_the_student_named(order):
    encoder = external("ATST-Frame_ssl")
    halves = [
        small.behind("model.student.encoder.", encoder),
        small.behind("model.teacher.encoder.", encoder),
    ][::order]
    rest = {
        "model.student.projector.0.weight": np.zeros((4, 3)),
        "model.teacher.projector.0.weight": np.zeros((4, 3)),
        "loss.center": np.zeros(3),
    }
    states = {"optimizer_states": [{"state": {0: {"exp_avg": np.zeros(3)}}}]}
    found = recognise({"state_dict": halves[0] | halves[1] | rest, **states})
    assert found.prefix == "model.teacher.encoder."
    assert found.stage == "ssl"
    reasons = {
        "state_dict.model.student.encoder.norm_frame.weight": "average of the student",
        "state_dict.model.student.projector.0.weight": "student",
        "state_dict.model.teacher.projector.0.weight": "pre-training only",
        "state_dict.loss.center": "not below",
        "optimizer_states.0.state.0.exp_avg": "optimiser",
    }
    assert len(found.dropped) == len(encoder) + len(rest) + 1
    for path, reason in reasons.items():
        assert reason in found.dropped[path], path


@pytest.mark.parametrize("container", ["teacher", "student"])
def test_either_half_alone_will_do(container):
    found = recognise({container: small.behind("module.", external("ASiT"))})
    assert (found.container, found.encoder) == (container, "asit")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("averaged", ["state_dict_ema", "model_ema", "ema"])
def test_a_running_average_comes_before_what_it_is_of(averaged, order):
    containers = {averaged: released("BEATs"), "state_dict": released("BEATs")}
    found = recognise(dict([*containers.items()][::order]))
    assert found.container == averaged
    assert len(found.dropped) == len(found.arrays)


@pytest.mark.parametrize(
    ("name", "there", "here"),
    [
        ("BEATs", "model.", "model._orig_mod."),
        ("ATST-F", "model.atst.", "model.atst._orig_mod."),
        ("fpasst", "", "_fsdp_wrapped_module."),
        ("M2D", "blocks.3.", "blocks.3._checkpoint_wrapped_module."),
    ],
)
def test_what_pytorch_wraps_modules_in_is_no_part_of_their_names(name, there, here):
    tensors = {
        key.replace(there, here, 1): array for key, array in released(name).items()
    }
    found = recognise({"state_dict": tensors})
    assert found.origin == RELEASED
    assert found.arrays.keys() == released(name).keys()
    assert (found.container, found.dropped) == ("state_dict", {})


@pytest.mark.parametrize("name", ["fpasst", "fpasst_rnn", "ATST-F"])
@pytest.mark.parametrize("outer", ["", "model."])
def test_heads_further_out_than_the_encoder_s_wrapper_are_its_heads(name, outer):
    """As earlier code of PretrainedSED wrapped fPaSST: `model.model.` and heads bare."""
    tensors = {
        f"{outer}{'model.' if key.startswith('model.') else ''}{key}": array
        for key, array in released(name).items()
    }
    found = recognise({"state_dict": tensors})
    assert found.arrays.keys() == released(name).keys()
    assert found.dropped == {}
    # Those beside the wrapped encoder come before those further out.
    beside = {f"model.{key}": array for key, array in released(name).items()}
    other = recognise(beside | {"strong_head.weight": np.zeros((3, 768))})
    assert other.arrays["strong_head.weight"] is beside["model.strong_head.weight"]
    assert other.dropped.keys() == {"strong_head.weight"}


def test_two_that_differ_by_what_wraps_them_are_refused():
    tensors = released("ATST-F")
    with pytest.raises(InputError, match="two of its tensors are called 'strong_he"):
        recognise(tensors | {"_orig_mod.strong_head.bias": np.zeros(447)})


@pytest.mark.parametrize(
    ("name", "there", "here"),
    [
        ("BEATs", "model.model.", "model.beats."),
        ("fpasst", "model.", "model.fpasst."),
        ("M2D", "model.", "model.m2d."),
        ("ASIT", "model.", "model.asit."),
        ("ATST-F", "model.atst.", "model.atst."),
        ("frame_mn06", "model.frame_mn.", "model.frame_mn."),
    ],
)
def test_a_training_of_pretrained_sed_is_a_released_file(name, there, here):
    tensors = {
        key.replace(there, here, 1) if key.startswith(there) else key: array
        for key, array in released(name).items()
    }
    inside = small.behind("model.", tensors) | {"model.model.mel.window": np.zeros(3)}
    inside |= {"mel.window": np.zeros(3)}
    found = recognise({"state_dict": inside, "callbacks": {}})
    assert found.origin == RELEASED
    unknown = {"model.mel.window"} if here == there else set()
    assert found.arrays.keys() == released(name).keys() | unknown
    assert "state_dict.mel.window" in found.dropped


def test_fine_tuning_is_told_by_its_classifier():
    atst = external("ATST-Frame_ssl")
    head = {"head.linear.weight": np.zeros((527, 768))}
    tuned = small.behind("encoder.encoder.", atst) | head
    found = recognise({"state_dict": tuned})
    assert found.stage == "weak"
    assert "classifier" in found.dropped["state_dict.head.linear.weight"]
    assert recognise({"state_dict": small.behind("encoder.", atst)}).stage == "ssl"


def test_what_lies_beside_the_encoder_is_named():
    tensors = external("ASiT") | {"classifier": {"0": np.zeros(3)}, "scale": np.ones(1)}
    found = recognise({"model": tensors})
    assert (found.container, found.prefix) == ("model", "")
    assert found.origin == "ASiT of its authors"
    for path in ("model.classifier.0", "model.scale"):
        assert "no module of the encoder" in found.dropped[path]
    # Within the encoder's own modules a strange key may change what it computes.
    gamma = "blocks.0.ls1.gamma"
    found = recognise({"model": external("ASiT") | {gamma: np.ones(768)}})
    assert f"model.{gamma}" in found.arrays


@pytest.mark.parametrize("prefix", ["", "net."])
@pytest.mark.parametrize("name", ["fpasst", "frame_mn10"])
def test_an_encoder_alone_is_told(name, prefix):
    encoder = small.MANIFESTS[name]
    ours = released_prefix(encoder)
    tensors = {
        prefix + key.removeprefix(ours): array
        for key, array in released(name).items()
        if key.startswith(ours)
    }
    found = recognise(tensors)
    assert (found.encoder, found.origin) == (encoder, f"{encoder} alone")
    assert len(found.arrays) == len(tensors) and not found.dropped


def timm(positions, colours=3):
    tensors = external("ASiT")
    return tensors | {
        "pos_embed": np.zeros((1, positions, 768)),
        "patch_embed.proj.weight": np.zeros((768, colours, 16, 16)),
    }


PASST = timm(1, 1) | {
    "freq_new_pos_embed": np.zeros((1, 768, 12, 1)),
    "time_new_pos_embed": np.zeros((1, 768, 1, 99)),
    "dist_token": np.zeros((1, 1, 768)),
}
del PASST["pos_embed"]
AST = small.behind("module.v.", timm(146, 1)) | {  # for clips of 1 s
    "module.v.dist_token": np.zeros((1, 1, 768)),
    "module.mlp_head.1.weight": np.zeros((35, 768)),
}
RESNET = {"conv1.weight": 0, "layer1.0.conv1.weight": 0, "fc.weight": 0}
HTSAT = {"layers.0.blocks.0.attn.relative_position_bias_table": 0, "tscam_conv.bias": 0}
CLAP = {"logit_scale_a": 0, "audio_branch.bn0.weight": 0, "text_branch.pooler.bias": 0}
ADAM = {"state": {0: {"exp_avg": np.zeros(3), "exp_avg_sq": np.zeros(3)}}}
TOKENIZER = external("BEATs") | {"quantize.embedding.weight": np.zeros((1024, 256))}


def zeros(keys):
    return {key: np.zeros(2) for key in keys}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zeros(RESNET), "looks like a ResNet of torchvision"),
        (zeros(HTSAT), "looks like an HTS-AT"),
        (zeros(CLAP), "looks like a CLAP"),
        ({"model": AST}, r"ast, but pos_embed is \[1, 146, 768\] and should"),
        (PASST, "looks like a PaSST without frame positions"),
        (ADAM, "state of an optimiser"),
        (TOKENIZER, "a BEATs tokenizer"),
        (timm(577), r"pos_embed is \[1, 577, 768\]"),
        (timm(191, 1), r"pos_embed is \[1, 191, 768\] and should be"),
        (zeros(["a.weight", "b.weight"]), r"2 tensors are a.weight, b.weight"),
        ({}, "holds no tensors"),
        ({"epoch": 3, "lr": [0.1]}, "holds no tensors"),
        (np.zeros(3), "none of the checkpoints known"),
        (Placeholder("my.package", "Net"), "class my.package.Net"),
    ],
)
def test_other_files_are_called_what_they_seem_to_be(content, message):
    with pytest.raises(InputError, match=message) as caught:
        recognise(content)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("name", "encoder"), [("BEATs", "beats"), ("ASIT", "asit")])
def test_another_model_than_was_said(name, encoder):
    with pytest.raises(
        InputError, match=rf"looks like a checkpoint of {encoder}, not of m2d"
    ):
        recognise(released(name), "m2d")
    assert recognise(released(name), encoder).encoder == encoder
    with pytest.raises(InputError, match="did you mean 'beats'"):
        recognise(released(name), "beat")


def test_the_word_for_it_is_taken_where_nothing_contradicts():
    tensors = released("ASIT") | {"model.pos_embed": np.zeros((1, 5, 768))}
    with pytest.raises(InputError, match=r"asit, but pos_embed is \[1, 5"):
        recognise(tensors)
    assert recognise(tensors, "asit").arrays["model.pos_embed"].shape == (1, 5, 768)


def test_half_a_checkpoint_is_still_told():
    tensors = released("BEATs")
    kept = {k: tensors[k] for k in tensors if "layers.1" not in k and "fc1" not in k}
    assert recognise(kept).encoder == "beats"


def test_every_mark_is_a_key_that_exists():
    names = {encoder: encoder for encoder in FAMILIES}
    assert MARKS.keys() >= names.keys()
    for encoder in names:
        prefix = released_prefix(encoder)
        keys = {rule.key for rule in rules_for(encoder, ())}
        assert {prefix + key for key in MARKS[encoder]} <= keys
