import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import plain_attention
from jaxsed.models.swin import PatchMerging, SwinBlock
from tests.test_models import drawn, numpy_htsat


def images(rows, columns, width=8, n_clips=2):
    return jax.random.normal(jax.random.key(0), (n_clips, rows, columns, width))


@pytest.mark.parametrize("cached_scores", [plain_attention.CACHED_SCORES, 0])
@pytest.mark.parametrize(
    ("size", "shifted"), [((16, 16), True), ((8, 16), True), ((4, 8), False)]
)
def test_a_block_is_its_definition(monkeypatch, cached_scores, size, shifted):
    monkeypatch.setattr(plain_attention, "CACHED_SCORES", cached_scores)
    image, module = images(*size), SwinBlock(2, 8, shifted, "float32")
    params = drawn.params_for(module, image)
    ours = jax.jit(module.apply)(params, image)
    for one, theirs in zip(np.asarray(image, np.float64), ours):
        expected = numpy_htsat.block(one, params["params"], 2, 8, shifted)
        np.testing.assert_allclose(theirs, expected, atol=3e-5)


def test_merging_takes_columns_before_rows():
    image, module = images(4, 6), PatchMerging("float32")
    params = drawn.params_for(module, image)
    expected = numpy_htsat.merge(np.asarray(image[0], np.float64), params["params"])
    np.testing.assert_allclose(
        jax.jit(module.apply)(params, image)[0], expected, atol=1e-5
    )


def test_branches_are_dropped_clip_by_clip_and_with_a_key_only():
    image = images(8, 8, n_clips=64)
    module = SwinBlock(2, 8, False, "float32", drop_path=0.5)
    params = drawn.params_for(module, image)
    apply = jax.jit(module.apply)
    plain = apply(params, image)
    dropped = apply(params, image, rngs={"dropout": jax.random.key(1)})
    expected = numpy_htsat.block(
        np.asarray(image[0], np.float64), params["params"], 2, 8, False
    )
    np.testing.assert_allclose(plain[0], expected, atol=3e-5)
    untouched = np.all(dropped == image, axis=(1, 2, 3))
    assert 6 < untouched.sum() < 28  # both branches: a quarter of 64
    assert (np.abs(dropped - image).max(axis=(1, 2, 3)) > 0.1)[~untouched].all()


def test_gradients_reach_every_parameter_where_biases_are_shared():
    image, module = images(16, 16), SwinBlock(2, 8, True, "float32")
    params = drawn.params_for(module, image)
    weight = jax.random.normal(jax.random.key(1), image.shape)

    def loss(params):
        return jnp.vdot(module.apply(params, image), weight)

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradients))
    # Along one direction in the table, the slope that differences show.
    table = params["params"]["attn"]["bias_table"]
    step = np.random.default_rng(0).normal(size=table.shape).astype(np.float32)

    @jax.jit
    def moved(by):
        attn = {**params["params"]["attn"], "bias_table": table + by * step}
        return loss({"params": {**params["params"], "attn": attn}})

    slope = (moved(1e-2) - moved(-1e-2)) / 2e-2
    expected = np.vdot(gradients["params"]["attn"]["bias_table"], step)
    assert slope == pytest.approx(expected, rel=1e-2)
