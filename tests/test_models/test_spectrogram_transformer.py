import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.frontends.presets import PRESETS
from jaxsed.models import heads, sed
from jaxsed.models.ast import GRID, OVERLAPPING_GRID
from jaxsed.models.compression import parse
from jaxsed.models.spectrogram_transformer import build
from jaxsed.models.vit import Hidden, VitConfig
from jaxsed.weights.layouts import families
from jaxsed.weights.mapping import from_released
from tests.test_models import drawn, numpy_ast

CONFIG = VitConfig(width=24, depth=2, heads=3, mlp_width=40)
N_CLASSES = 5
# Other geometries than the released ones: 46 mel bins, 60 of 80 mel frames.
SMALL = dataclasses.replace(
    GRID, mel_frames=60, padded_frames=80, steps=4, rows=2, label_frames=0
)
OVERLAPPING = dataclasses.replace(
    SMALL, frames_per_step=6, steps=10, rows=7, bins_per_row=5
)
HIGH = dataclasses.replace(
    SMALL, frames_per_step=2, patch_frames=3, steps=30, rows=1, patch_bins=46
)


def released_weights(monkeypatch, grid):
    """Random weights by released key, for a small model on that grid."""
    family = dataclasses.replace(families.FAMILIES["ast"], depth=CONFIG.depth)
    monkeypatch.setitem(families.FAMILIES, "ast", family)
    rng = np.random.default_rng(0)
    width = CONFIG.width
    shapes = {
        "qkv.weight": (3 * width, width),
        "qkv.bias": (3 * width,),
        "proj.weight": (width, width),
        "fc1.weight": (CONFIG.mlp_width, width),
        "fc1.bias": (CONFIG.mlp_width,),
        "fc2.weight": (width, CONFIG.mlp_width),
        "mlp_head.1.weight": (N_CLASSES, width),
        "mlp_head.1.bias": (N_CLASSES,),
        "patch_embed.proj.weight": (width, 1, grid.patch_bins, grid.patch_frames),
        "cls_token": (1, 1, width),
        "dist_token": (1, 1, width),
        "pos_embed": (1, 2 + grid.rows * grid.columns, width),
    }
    weights = {}
    for rule in families.rules_for("ast", ["weak_head/norm/scale"]):
        tails = [tail for tail in shapes if rule.key.endswith(tail)]
        shape = shapes[max(tails, key=len)] if tails else (width,)
        weights[rule.key] = rng.normal(size=shape) * 0.3
    return weights


@pytest.mark.parametrize(
    ("grid", "compression"),
    [
        (SMALL, "none"),
        (OVERLAPPING, "none"),
        (HIGH, "none"),
        (OVERLAPPING, "patch_bl-2"),
    ],
)
def test_it_is_ast_derived_anew(monkeypatch, grid, compression):
    compression = parse(compression)
    own = compression.of_grid(grid)
    weights = released_weights(monkeypatch, own)
    params = from_released("ast", weights)
    mel = np.random.default_rng(1).normal(size=(2, 50, 46))
    padding = PRESETS["ast"].padding
    with jax.enable_x64(True):
        # from_released rounds to float32; so does the derivation, then.
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        encoder = build(
            grid, "float64", compression, config=CONFIG, summary_of="patches"
        )
        run = jax.jit(encoder.apply)
        frames, out = run({"params": params["encoder"]}, mel, jnp.array([50, 23]))
        head = heads.LinearHead(N_CLASSES, heads.TOKENS_EPSILON)
        logits = [
            head.apply({"params": params["weak_head"]}, out[name])
            for name in ("cls_summary", "summary")
        ]
    weights = {key: np.float32(array) for key, array in weights.items()}
    strides = own.bins_per_row, own.frames_per_step
    for clip, length in enumerate((50, 23)):
        image = np.full((46, 80), padding)
        image[:, :length] = mel[clip, :length].T
        tokens, *expected = numpy_ast.forward(weights, image, strides, CONFIG.heads)
        np.testing.assert_allclose(out["norm"][clip], tokens, atol=1e-10)
        for ours, theirs in zip(logits, expected):
            np.testing.assert_allclose(ours[clip], theirs, atol=1e-10)
        rows = tokens[2:].reshape(own.rows, own.columns, -1)
        n_frames = own.n_steps(50)
        np.testing.assert_allclose(
            frames[clip], rows.mean(axis=0)[:n_frames], atol=1e-10
        )


def test_hidden_patches_are_replaced_before_positions_are_added():
    encoder = build(SMALL, config=CONFIG)
    mel = jax.random.normal(jax.random.key(0), (1, 60, 46))
    params = drawn.params_for(encoder, mel)
    where = np.zeros((1, SMALL.columns, SMALL.rows), bool)
    where[0, 2, 1] = True
    token = params["params"]["embed"]["patch"]["bias"]  # what an empty patch becomes
    run = jax.jit(lambda mel, hidden: encoder.apply(params, mel, hidden=hidden)[1])
    hidden = run(mel, Hidden(jnp.asarray(where), token))["norm"]
    empty = run(mel.at[:, 32:48, 16:32].set(0), None)["norm"]
    np.testing.assert_allclose(hidden, empty, atol=1e-5)
    assert np.abs(hidden - run(mel, None)["norm"]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "compression"),
    [
        ("tiny_ast", "none"),
        ("tiny_ast", "fshift-4"),
        ("tiny_ast_s16", "none"),
        ("tiny_ast_s16", "patch_pi-2"),
        ("tiny_ssast_frame", "none"),
    ],
)
def test_frames_lie_where_the_sound_is(name, compression):
    """What one step says is on the label frames of its time, at any resolution.

    Of patches that overlap the time is that of a patch's middle, and at full resolution,
    as in the original, of a step's: a compressed one lies as far behind that.
    """
    model = sed.build(name, 2, compression=compression)
    grid, n_mel_frames = model.encoder.grid, model.frontend.n_mel_frames(160_000)
    step = grid.steps * 3 // 4
    values = jnp.zeros((1, grid.steps, 1)).at[:, step].set(1)
    aligned = np.asarray(model._aligned(values, n_mel_frames, None))[0, :, 0]
    centre = (aligned * (np.arange(250) + 0.5)).sum() / aligned.sum()
    step_seconds = grid.frames_per_step / grid.mel_frames_per_second
    early = (grid.reach - 1) / 2 * step_seconds / grid.factor
    seconds = (step + grid.reach / 2) * step_seconds - early
    assert centre * 0.04 == pytest.approx(seconds, abs=0.021)


@pytest.mark.parametrize("text", ["fshift-4", "patch_pi-3"])
def test_overlapping_patches_hear_at_the_same_times_at_every_compression(text):
    """Not where a step lies, but the middle of what its patch sees."""

    def heard(grid):
        hop = 1 / grid.mel_frames_per_second
        seconds = (jnp.arange(grid.mel_frames) + 0.5) * hop
        return jnp.mean(grid.cut(seconds[None, :, None]), axis=2)[:, : grid.steps]

    coarse = parse(text).of_grid(OVERLAPPING_GRID)
    within = slice(5, 90)  # steps that lie between two coarse ones
    seconds = np.asarray(heard(OVERLAPPING_GRID))[0, within, 0]
    refined = np.asarray(coarse.refined(heard(coarse)))[0, within, 0]
    np.testing.assert_allclose(refined, seconds, atol=1e-5)


@pytest.mark.parametrize("grid", [GRID, OVERLAPPING_GRID])
def test_grids_keep_the_papers_sizes(grid):
    tokens = {
        C: 2 + grid.rows * parse(f"fshift-{C}").of_grid(grid).columns for C in (1, 2, 4)
    }
    expected = {1: 514, 2: 258, 4: 130} if grid is GRID else {1: 1214, 2: 602, 4: 302}
    assert tokens == expected
