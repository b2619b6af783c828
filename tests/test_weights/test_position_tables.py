import jax
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.ast import GRID, OVERLAPPING_GRID
from jaxsed.weights import resolution
from jaxsed.weights.layouts import ast as layout
from jaxsed.weights.position_tables import fitted, of_one_channel
from tests import goldens, synth
from tests.test_models import drawn

GOLDEN = goldens.load("ast")
FLOAT32 = 1e-5  # the originals interpolate in float32, positions of points too
DEIT, AUDIOSET = (24, 24), (12, 101)


def test_layouts_know_the_models_grids():
    for grid, stored in (
        (GRID, layout.GRID),
        (OVERLAPPING_GRID, layout.OVERLAPPING_GRID),
    ):
        assert (grid.rows, grid.columns) == stored


@pytest.mark.parametrize(
    ("case", "stored", "wanted"),
    [
        ("imagenet_s16_t1024", DEIT, (8, 64)),
        ("imagenet_s16_t512", DEIT, (8, 32)),
        ("imagenet_s16_t256", DEIT, (8, 16)),
        ("imagenet_s10_t1024", DEIT, (12, 101)),
        ("audioset_s16_t1024", AUDIOSET, (8, 64)),
        ("audioset_s16_t256", AUDIOSET, (8, 16)),
        ("audioset_s10_t512", AUDIOSET, (12, 50)),
        ("audioset_s10_t1024", AUDIOSET, (12, 101)),
        ("audioset_s10_t2048", AUDIOSET, (12, 204)),
    ],
)
def test_tables_are_those_of_asts_constructor(case, stored, wanted):
    key = "deit.pos_embed" if stored == DEIT else "module.v.pos_embed"
    shape = (1, 2 + stored[0] * stored[1], 768)
    table = synth.synth_tensor(key, shape, "float32", 0).astype(np.float64)
    made = fitted(table, stored, wanted)
    assert made.shape == (1, 2 + wanted[0] * wanted[1], 768)
    strides = (7, 31) if stored == DEIT else (11, 31)
    excerpt = made[:, :: strides[0], :: strides[1]]
    np.testing.assert_allclose(
        excerpt, GOLDEN[f"ast_init/{case}/pos_embed"], rtol=0, atol=FLOAT32
    )


def test_the_table_of_fine_tuned_ssast_is_the_originals():
    table = synth.synth_tensor("module.v.pos_embed", (1, 514, 768), "float32", 0)
    made = fitted(table, layout.GRID, layout.OVERLAPPING_GRID)
    np.testing.assert_allclose(
        made[0, ::31, ::13], GOLDEN["ssast/ft_s10/pos_embed"][0], rtol=0, atol=FLOAT32
    )
    same = fitted(table, layout.GRID, layout.GRID)
    np.testing.assert_array_equal(same, table)


def test_kernels_of_images_are_summed_over_colours():
    key = "deit.patch_embed.proj.weight"
    kernel = synth.synth_tensor(key, (768, 3, 16, 16), "float32", 0)
    made = of_one_channel(kernel.astype(np.float64))[::17, :, ::3, ::3]
    np.testing.assert_allclose(
        made, GOLDEN["ast_init/imagenet/proj_weight"], rtol=0, atol=2e-7
    )


@pytest.mark.parametrize(
    ("before", "after", "stored", "wanted"),
    [
        ("tiny_ast", "tiny_ast_s16", layout.OVERLAPPING_GRID, layout.GRID),
        ("tiny_ssast", "tiny_ast", layout.GRID, layout.OVERLAPPING_GRID),
    ],
)
def test_a_training_may_start_from_patches_at_other_intervals(
    before, after, stored, wanted
):
    models = [sed.build(name, 2) for name in (before, after)]
    mel = jax.ShapeDtypeStruct((1, 17, 128), np.float32)
    params = drawn.params_for(models[0], mel)["params"]
    adapted = resolution.adapt(params, *models)
    table = fitted(params["encoder"]["embed"]["positions"][None], stored, wanted)[0]
    np.testing.assert_array_equal(adapted["encoder"]["embed"]["positions"], table)
    shapes = jax.tree.map(np.shape, adapted)
    expected = jax.eval_shape(models[1].init, jax.random.key(0), mel)["params"]
    assert shapes == jax.tree.map(np.shape, expected)
    coarse = sed.build(after, 2, compression="fshift-2")
    with pytest.raises(InputError, match="start from compression=none"):
        resolution.adapt(params, models[0], coarse)
