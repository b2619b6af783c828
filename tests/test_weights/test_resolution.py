import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.ast import OVERLAPPING_GRID
from jaxsed.models.compression import Compression
from jaxsed.models.masked_patches import PATCH_HEADS
from jaxsed.models.resize import resized_kernel
from jaxsed.models.tokens import Grid
from jaxsed.weights import resolution
from tests import goldens
from tests.test_models import drawn
from tests.test_models.shallow import with_one_block

ENCODERS = ("atst_frame", "beats", "fpasst", "m2d", "asit", "frame_mn10")
# AST's tokens: one row after the other, behind CLS and DIST.
AST = Grid(
    mel_frames=1024, frames_per_step=16, steps=64, rows=8, time_major=False, prefix=2
)


def build(encoder, compression):
    return with_one_block(sed.build(f"tiny_{encoder}", 3, compression=compression))


def mel_of(model):
    grid = model.encoder.grid
    return jax.ShapeDtypeStruct(
        (1, grid.mel_frames, model.frontend.n_mels), jnp.float32
    )


def params_of(model):
    return drawn.params_for(model, mel_of(model))["params"]


def shapes(params):
    return jax.tree.map(jnp.shape, params)


@dataclasses.dataclass
class OnGrid:
    """As much of an encoder as positions depend on."""

    grid: Grid


def moved(table, *factors):
    for pair in itertools.pairwise(factors):
        grids = (AST.compressed(c, wider_steps=True) if c > 1 else AST for c in pair)
        change = resolution.Change(*map(OnGrid, grids), "pi")
        table = resolution.positions(table, change)
    return table


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("c4_to_c2", (4, 2)),
        ("c4_to_c2_to_c1", (4, 2, 1)),
        ("c4_to_c1", (4, 1)),
        ("c1_to_c2_plain", (4, 1, 2)),
    ],
)
def test_positions_are_resized_as_in_the_papers_phases(name, factors):
    golden = goldens.load("compression")
    table = golden["pos/c4"]
    found = moved(table, *factors)
    np.testing.assert_allclose(found[::5], golden[f"pos/{name}"], rtol=0, atol=1e-9)
    np.testing.assert_array_equal(found[:2], table[:2])  # CLS and DIST


@pytest.mark.parametrize("wider_steps", [True, False])
def test_positions_of_overlapping_patches_belong_to_the_middles_of_patches(wider_steps):
    coarse = OVERLAPPING_GRID.compressed(4, wider_steps=wider_steps)
    grids = (OVERLAPPING_GRID, coarse)

    def table(grid):
        frame = np.arange(grid.columns) * grid.frames_per_step + grid.patch_frames / 2
        seconds = np.tile(frame / grid.mel_frames_per_second, grid.rows)
        return np.concatenate([[-1.0, -2.0], seconds])[:, None]

    change = resolution.Change(*map(OnGrid, grids), "pi")
    found = resolution.positions(table(OVERLAPPING_GRID), change)
    np.testing.assert_allclose(found, table(coarse), atol=1e-9)


def test_positions_agree_with_another_interpolation_where_steps_do_not_divide():
    encoders = [build("m2d", text).encoder for text in ("none", "fshift-4")]
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1 + 5 * 62, 3))
    found = resolution.positions(table, resolution.Change(*encoders, "pi"))
    assert found.shape == (1 + 5 * 16, 3)
    # The middle of the k-th step of four, in steps at full resolution.
    middle = np.minimum(4 * np.arange(16) + 1.5, 61)
    for row, feature in np.ndindex(5, 3):
        full = table[1 + 62 * row : 1 + 62 * (row + 1), feature]
        expected = np.interp(middle, np.arange(62), full)
        np.testing.assert_allclose(found[1 + 16 * row :][:16, feature], expected)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_parameters_fit_any_other_compression(encoder):
    texts = ["none", "max_pool-3"]
    if encoder != "frame_mn10":
        texts += ["patch_bl-4"]
    models = {text: build(encoder, text) for text in texts}
    params = {text: params_of(model) for text, model in models.items()}
    for before, after in itertools.permutations(texts, 2):
        adapted = resolution.adapt(params[before], models[before], models[after])
        assert shapes(adapted) == shapes(params[after])
        leaves = jax.tree.leaves(adapted)
        assert all(np.isfinite(leaf).all() for leaf in leaves)
        assert all(leaf.dtype == np.float32 for leaf in leaves)


def test_what_does_not_depend_on_time_is_passed_on():
    before, after = build("m2d", "fshift-4"), build("m2d", "none")
    params = params_of(before)
    adapted = resolution.adapt(params, before, after)
    for name in ("strong_head", "weak_head"):
        assert adapted[name] is params[name]
    for name, layer in params["encoder"].items():
        assert (adapted["encoder"][name] is layer) == (name != "embed")
    kernel = params["encoder"]["embed"]["patch"]["kernel"]
    np.testing.assert_array_equal(
        adapted["encoder"]["embed"]["patch"]["kernel"], kernel
    )
    assert resolution.adapt(params, before, before) == params


def test_asits_stored_positions_serve_all_compressions():
    before, after = build("asit", "fshift-4"), build("asit", "avg_pool-2")
    params = params_of(before)
    adapted = resolution.adapt(params, before, after)
    stored = params["encoder"]["embed"]["positions"]
    np.testing.assert_array_equal(adapted["encoder"]["embed"]["positions"], stored)


@pytest.mark.parametrize("method", ["patch_bl", "patch_bl_aa", "patch_pi"])
@pytest.mark.parametrize("encoder", ["atst_frame", "beats", "fpasst", "m2d"])
def test_patch_kernels_are_resized_over_time(encoder, method):
    models = [build(encoder, text) for text in (f"{method}-4", "none")]
    params = params_of(models[0])
    adapted = resolution.adapt(params, *models)
    wide, narrow = (
        np.asarray(tree["encoder"]["embed"]["patch"]["kernel"], np.float64)
        for tree in (params, adapted)
    )
    # Frames of a patch first, what they are of after it.
    n_frames = {"atst_frame": (16, 4), "fpasst": (8, 2)}.get(encoder, (64, 16))
    if encoder == "atst_frame":
        wide, narrow = (
            kernel.reshape(64, n, -1).swapaxes(0, 1)
            for kernel, n in zip((wide, narrow), n_frames)
        )
    else:
        wide, narrow = (
            kernel.reshape(n, -1) for kernel, n in zip((wide, narrow), n_frames)
        )
    how = method.removeprefix("patch_")
    expected = resized_kernel(wide, {0: n_frames[1]}, how)
    np.testing.assert_allclose(narrow, expected, rtol=0, atol=1e-6)


def test_the_later_phase_says_how_kernels_are_resized():
    how = resolution.kernel_resize
    assert how(Compression("patch_bl", 4), Compression()) == "bl"
    assert how(Compression(), Compression("patch_pi", 4)) == "pi"
    both = Compression("patch_pi", 4), Compression("patch_bl_aa", 2)
    assert how(*both) == "bl_aa"


def steady(model, params):
    """Parameters whose positions are the same at all times."""
    grid, embed = model.encoder.grid, dict(params["encoder"].get("embed", {}))
    tables = {"positions": grid.prefix, "time_positions": 0}
    for name in embed.keys() & tables.keys():
        first, others = np.split(embed[name], [tables[name]])
        shape = (-1, grid.rows) if grid.time_major else (grid.rows, -1)
        stored = getattr(model.encoder.embed, "stored_grid", None)
        others = others.reshape(*(stored or shape), others.shape[-1])
        mean = others.mean(axis=0 if grid.time_major else 1, keepdims=True)
        others = np.broadcast_to(mean, others.shape).reshape(-1, others.shape[-1])
        embed[name] = np.concatenate([first, others])
    encoder = {**params["encoder"], "embed": embed} if embed else params["encoder"]
    return {**params, "encoder": encoder}


def hear(model, params, bins):
    """Logits of sounds that do not change, `[b, f]`."""
    apply = jax.jit(model.apply, compiler_options={"xla_backend_optimization_level": 0})
    _, n_frames, n_mels = mel_of(model).shape
    mel = np.broadcast_to(bins[:, None], (len(bins), n_frames, n_mels))
    return np.asarray(apply({"params": params}, mel)[0])


# What differs between resolutions: the ends, where convolutions see silence, and how
# many tokens there are beside CLS and DIST.
@pytest.mark.parametrize(
    ("encoder", "before", "after", "part"),
    [
        ("atst_frame", "none", "patch_pi-4", 1e-5),
        ("fpasst", "avg_pool-4", "none", 0.1),
        ("m2d", "none", "patch_pi-2", 0.05),
        ("asit", "fshift-4", "none", 0.05),
        ("beats", "max_pool-4", "none", 0.05),
        ("frame_mn10", "fshift-2", "none", 0.05),
    ],
)
def test_a_sound_that_does_not_change_is_heard_alike(encoder, before, after, part):
    models = build(encoder, before), build(encoder, after)
    params = steady(models[0], params_of(models[0]))
    rng = np.random.default_rng(1)
    bins = rng.normal(size=(2, models[0].frontend.n_mels)).astype(np.float32)
    here = hear(models[0], params, bins)
    there = hear(models[1], resolution.adapt(params, *models), bins)
    inside = slice(25, 225)
    error = np.sqrt(np.mean(np.square(here - there)[:, inside]))
    between_sounds = np.sqrt(np.mean(np.square(here[0] - here[1])[inside]))
    assert error < part * between_sounds


def test_what_predicts_patches_draws_them_at_another_time_scale():
    wide, narrow = (
        sed.build("tiny_ssast", 1, head="masked_patches", compression=text)
        for text in ("patch_pi-4", "none")
    )
    frame = np.linspace(0, 1, 64)  # rises over the patch, and from bin to bin
    bias = (np.arange(16)[:, None] + frame).ravel().astype(np.float32)
    layer = {"kernel": np.stack([bias, 2 * bias]), "bias": bias}
    heads = {name: {"fc2": layer} for name in PATCH_HEADS}
    params = {"encoder": params_of(wide)["encoder"], **heads}
    adapted = resolution.adapt(params, wide, narrow)
    for name in PATCH_HEADS:
        found = adapted[name]["fc2"]
        drawn_at_16 = found["bias"].reshape(16, 16)
        middles = frame.reshape(16, 4).mean(axis=1)
        expected = np.arange(16)[:, None] + middles
        # The outermost are averages of what there is.
        np.testing.assert_allclose(drawn_at_16[:, 1:-1], expected[:, 1:-1], atol=1e-6)
        np.testing.assert_allclose(found["kernel"][1], 2 * found["bias"], atol=1e-6)
    detector = sed.build("tiny_ssast", 3)
    fine_tuned = resolution.adapt(params, wide, detector)
    assert fine_tuned["encoder"]["embed"]["positions"].shape == (2 + 8 * 64, 96)


def test_other_encoders_are_refused():
    before, after = build("m2d", "none"), build("asit", "none")
    with pytest.raises(InputError, match="encoder m2d do not fit asit"):
        resolution.adapt(params_of(before), before, after)
