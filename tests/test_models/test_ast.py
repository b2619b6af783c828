"""AST, and SSAST fine-tuned, against the originals on synthetic weights."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.ast import FULL, ast, tiny_ast, tiny_ast_s16
from jaxsed.models.heads import TOKENS_EPSILON, LinearHead
from jaxsed.weights import resolution
from jaxsed.weights.mapping import from_released
from tests import goldens, synth, synth_clip
from tests.test_models import lengths

GOLDEN = goldens.load("ast")
N_CLASSES = 527
# Compiling with all optimisations takes longer than running once.
QUICKLY = {"xla_backend_optimization_level": 0}
STAGES = {
    "patch_embed": "patch",
    "block0": "block_0",
    "block5": "block_5",
    "block11": "block_11",
    "norm": "norm",
}


def wave(dtype):
    return jnp.asarray(synth_clip.waveform(10, 16_000, 0), dtype)[None]


@pytest.fixture(scope="module")
def weights():
    """Those of the network at stride 16; other manifests differ in single tensors."""
    return synth.synth_state_dict(goldens.manifest("ast_s16"), 0)


def tensor(key, *shape, stream=""):
    return {key: synth.synth_tensor(f"{key}{stream}", shape, "float32", 0)}


def released(weights, changed=None):
    """Our parameters of synthetic weights; the original has no head for frames."""
    params = from_released("ast_s16", weights | (changed or {}))
    head = {"kernel": np.zeros((768, N_CLASSES)), "bias": np.zeros(N_CLASSES)}
    return params | {"strong_head": jax.tree.map(np.float32, head)}


def run(model, params, dtype="float32"):
    params = jax.tree.map(lambda x: jnp.asarray(x, dtype), params)
    forward = jax.jit(model.apply, compiler_options=QUICKLY)
    return forward({"params": params}, model.frontend(wave(dtype)))


def assert_close(key, ours, atol=None):
    """At three times the noise of the original's own float32 run, if not told."""
    if atol is None:
        noise = GOLDEN[f"dev32/{key.removesuffix('_cls_dist')}"]
        atol = 3 * noise[0] + 1e-6
    np.testing.assert_allclose(ours, GOLDEN[key], rtol=0, atol=atol, err_msg=key)


@pytest.fixture(scope="module")
def base(weights):
    return released(weights)


@pytest.fixture(scope="module")
def forward(base):
    """One float32 pass of the network with patches that do not overlap.

    Fine-tuned SSAST has the same synthetic weights, as the same keys.
    """
    model = sed.build("ssast", N_CLASSES, head="cls")
    return run(model, base)


def test_network_is_the_original_in_float32(forward):
    _, out = forward
    for theirs, ours in STAGES.items():
        assert_close(f"s16/{theirs}", out[ours][:, ::23, ::11])
    for theirs in ("block0", "block5", "block11", "norm"):
        assert_close(f"s16/{theirs}_cls_dist", out[STAGES[theirs]][0, :2])
    assert_close("s16/logits", out["clip_logits"][0])


def test_both_poolings_of_fine_tuned_ssast_are_the_originals(base, forward):
    _, out = forward
    head = LinearHead(N_CLASSES, TOKENS_EPSILON)
    average = head.apply({"params": base["weak_head"]}, out["summary"])
    for name, ours in (("avgtok", average), ("cls", out["clip_logits"])):
        key = f"ssast/ft_s16/ft_{name}"
        atol = 3 * GOLDEN[f"ssast/dev32/ft_s16/ft_{name}"][0] + 1e-6
        np.testing.assert_allclose(ours[0], GOLDEN[key][0], rtol=0, atol=atol)


def test_overlapping_patches_are_the_originals_in_float64(weights):
    """Up to the first block: what follows is the same network."""
    params = released(weights, tensor("module.v.pos_embed", 1, 1214, 768))["encoder"]
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        encoder = ast("float64", config=dataclasses.replace(FULL, depth=1))
        frontend = sed.build("ast", 1).frontend
        forward = jax.jit(encoder.apply, compiler_options=QUICKLY)
        _, out = forward({"params": params}, frontend(wave("float64")))
    for theirs in ("patch_embed", "block0"):
        ours = out[STAGES[theirs]]
        assert_close(f"s10/{theirs}", ours[:, ::23, ::11], atol=1e-9)
    assert_close("s10/block0_cls_dist", out["block_0"][0, :2], atol=1e-9)


@pytest.fixture(scope="module")
def coarse():
    """Positions of the network at C = 4."""
    return tensor("module.v.pos_embed", 1, 130, 768, stream="@c4")


class TestChain:
    """Phases of From Coarse to Fine: C = 4, and from there to C = 2."""

    def test_averages_over_the_padding_in_float64(self, weights, coarse):
        params = released(weights, coarse)
        with jax.enable_x64(True):
            options = {"head": "tokens", "dtype": "float64"}
            model = sed.build("ast_s16", N_CLASSES, compression="avg_pool-4", **options)
            _, out = run(model, params, "float64")
        assert_close("chain/avg/logits_C4", out["clip_logits"][0], atol=1e-9)

    def test_a_longer_hop(self, weights, coarse):
        params = released(weights, coarse)
        model = sed.build("ast_s16", N_CLASSES, head="tokens", compression="fshift-4")
        _, out = run(model, params)
        assert_close("chain/fshift/logits_C4", out["clip_logits"][0])

    def test_wider_patches_are_carried_over(self, weights, coarse):
        key = "module.v.patch_embed.proj.weight"
        kernel = tensor(key, 768, 1, 16, 64, stream="@c4")
        params = released(weights, coarse | kernel)
        wide, half = (
            sed.build("ast_s16", N_CLASSES, head="tokens", compression=f"patch_pi-{C}")
            for C in (4, 2)
        )
        _, out = run(half, resolution.adapt(params, wide, half))
        assert_close("chain/patch_pi/logits_C2", out["clip_logits"][0])


def test_padding_changes_nothing_for_a_clip():
    lengths.assert_padding_changes_nothing(tiny_ast_s16(), 128, (200, 33, 1))


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"9\.99 s long.*windows of at most 10 s"):
        tiny_ast().init(jax.random.key(0), jnp.zeros((1, 999, 128)))


def test_a_padded_clip_depends_on_its_data_sets_statistics():
    """The original pads before it normalises: log-mel 0, whatever that becomes."""
    shifted = [
        sed.build("tiny_ast_s16", 1, frontend=name).encoder.grid.padding_value
        for name in ("ast", "ast_esc50")
    ]
    np.testing.assert_allclose(shifted, [0.467032, 0.618350], atol=1e-6)


def test_from_scratch_it_starts_as_the_original():
    init = jax.jit(tiny_ast().embed.init)
    embed = init(jax.random.key(0), jnp.zeros((1, 17, 128)))["params"]
    assert embed["positions"].shape == (2 + 12 * 101, 96)
    for name in ("positions", "cls_token", "dist_token"):
        assert np.std(embed[name]) == pytest.approx(0.02, rel=0.3), name
    for leaf in embed["patch"].values():  # PyTorch's convolutions: 1/sqrt(16 * 16)
        assert 0.95 / 16 < np.abs(leaf).max() <= 1 / 16
