import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl
from jax.sharding import PartitionSpec

from jaxsed import optim
from jaxsed.models import sed
from jaxsed.plan import flops
from jaxsed.stages import pretrain
from jaxsed.stages.program import abstract_params
from jaxsed.training import sharding


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


@pytest.mark.parametrize(
    "function, arguments, expected",
    [
        (jnp.matmul, [shape(3, 5), shape(5, 7)], 2 * 3 * 5 * 7),
        (
            lambda a, b: jnp.einsum("bik,bkj->bij", a, b) + 1,
            [shape(4, 3, 5), shape(4, 5, 7)],
            2 * 4 * 3 * 5 * 7,
        ),
        (
            lambda x, w: jax.lax.scan(lambda c, _: (c @ w, None), x, length=6)[0],
            [shape(2, 5), shape(5, 5)],
            6 * 2 * 2 * 5 * 5,
        ),
        (
            lambda x, w: jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w),
            [shape(2, 5), shape(5, 5)],
            2 * 2 * 2 * 5 * 5,
        ),
        (
            jax.jit(lambda x, w: jax.checkpoint(jnp.dot)(x, w)),
            [shape(2, 5), shape(5, 3)],
            2 * 2 * 5 * 3,
        ),
    ],
)
def test_products_are_counted_wherever_they_are(function, arguments, expected):
    assert flops.product_flops(function, *arguments) == expected


@pytest.mark.parametrize("groups", [1, 4])
def test_a_convolution_multiplies_each_output_with_one_kernel(groups):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    x, kernel = shape(2, 10, 9, 8), shape(3, 2, 8 // groups, 16)
    outputs = 2 * 8 * 8 * 16
    expected = 2 * outputs * 3 * 2 * (8 // groups)
    assert flops.product_flops(convolve, x, kernel) == expected


def test_of_forms_for_several_platforms_the_default_counts():
    def product(x, w):
        return jax.lax.platform_dependent(
            x, w, tpu=lambda x, w: x @ w @ w, cpu=lambda x, w: x, default=jnp.matmul
        )

    found = flops.product_flops(product, shape(2, 5), shape(5, 5))
    assert found == 2 * 2 * 5 * 5


def test_a_kernel_counts_what_all_its_blocks_multiply():
    def multiply(x, w, out):
        out[...] = x[...] @ w[...]

    rows = pl.BlockSpec((8, 16), lambda block: (block, 0))
    product = pl.pallas_call(
        multiply,
        grid=(4,),
        in_specs=[rows, pl.BlockSpec((16, 16), lambda block: (0, 0))],
        out_specs=rows,
        out_shape=shape(32, 16),
        interpret=True,
    )
    found = flops.product_flops(product, shape(32, 16), shape(16, 16))
    assert found == 2 * 32 * 16 * 16


def test_parts_on_devices_count_together():
    mesh = sharding.make_mesh()
    spec = PartitionSpec(("data", "fsdp"))
    product = jax.shard_map(
        jnp.matmul, mesh=mesh, in_specs=(spec, PartitionSpec()), out_specs=spec
    )
    found = flops.product_flops(product, shape(16, 5), shape(5, 7))
    assert found == 2 * 16 * 5 * 7


def test_a_transformer_takes_what_its_matrices_say():
    model = sed.build("tiny_atst_frame", n_classes=10)
    config, tokens, patch = model.encoder.config, 250, 4 * 64
    width = config.width
    products = tokens * patch * width
    layers = 4 * width * width + 2 * width * config.mlp_width + 2 * tokens * width
    products += config.depth * tokens * layers
    # Two operations each, once forward and twice backward; one head, for the other has
    # no part in the loss.
    for targets, n_logits in (("frames", tokens), ("clip", 1)):
        expected = 2 * 3 * (products + n_logits * width * 10)
        assert flops.training_flops(model, 10.0, targets=targets) == expected


def test_pretraining_takes_two_passes_and_predicts_all_that_is_hidden():
    model = sed.build("tiny_ssast", 1, head="masked_patches")
    task = pretrain.task({"model": {"head": "masked_patches"}, "pretext": {}})
    found = flops.training_flops(
        model, 10.0, None, 0.0, task.targets, task.inputs, task.draw
    )
    config, grid = model.encoder.config, model.encoder.grid
    rows, columns = model.patches
    values, width = 16 * 16, config.width
    tokens = grid.prefix + rows * columns
    layers = 4 * width * width + 2 * width * config.mlp_width + 2 * tokens * width
    a_pass = rows * columns * values * width + config.depth * tokens * layers
    hidden = round(pretrain.DEFAULTS["part"] * rows * columns)
    a_pass += hidden * (width * width + width * values)  # the head's two layers
    assert found == 2 * 3 * 2 * a_pass


def test_what_is_frozen_or_not_seen_is_not_counted():
    model = sed.build("tiny_atst_frame", n_classes=10)
    abstract = abstract_params(model)
    whole = flops.training_flops(model, 10.0, optim.frozen({}, abstract))
    forward, width = whole // 3, model.encoder.config.width
    assert whole == flops.training_flops(model, 10.0)

    probe = optim.frozen({"frozen": ["^encoder/"]}, abstract)
    heads = 2 * 250 * width * 10  # gradients of their weights alone
    assert flops.training_flops(model, 10.0, probe) == forward + heads

    # Half of the tokens: less than half of the layers, whose attention is quadratic; all
    # of the patches, which are made before.
    seen = flops.training_flops(model, 10.0, patchout_part=0.5)
    patches = 3 * 2 * 250 * (4 * 64) * width
    assert patches < seen < patches + 0.5 * (whole - patches)
