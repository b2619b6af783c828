import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import (
    AbstractDevice,
    AbstractMesh,
    Mesh,
    NamedSharding,
    PartitionSpec,
)

from jaxsed.models import dropout
from jaxsed.models.attention import attend
from jaxsed.models.fused_attention import fits, fused_attention
from jaxsed.models.plain_attention import kept_weights
from jaxsed.models.relative_bias import GatedBias, GateWeights

CLIPS, TOKENS, HEADS, WIDTH = 4, 21, 4, 256


def plain(qkv, gated, seeds, rate):
    """What the kernel does, by `attend`."""
    per_head = (CLIPS, TOKENS, HEADS, WIDTH // HEADS)
    query, key, value = (x.reshape(per_head) for x in jnp.split(qkv, 3, axis=-1))
    attended = attend(query, key, value, None, rate, seeds, gated)
    return attended.reshape(CLIPS, TOKENS, WIDTH)


def fused(qkv, gated, seeds, rate):
    return fused_attention(qkv, HEADS, gated, seeds, rate, interpret=True)


@pytest.fixture(scope="module", params=["plain", "gated", "dropped"])
def case(request):
    """Operands, and gradients of the plain form."""
    keys = jax.random.split(jax.random.key(0), 6)
    qkv = jax.random.normal(keys[0], (CLIPS, TOKENS, 3 * WIDTH))
    gated, seeds, rate = None, None, 0.0
    if request.param != "plain":
        weights = GateWeights(
            jax.random.normal(keys[1], (WIDTH // HEADS, 2)) / 8,
            jnp.array([0.5, -0.3]),
            1 + jax.random.normal(keys[5], (HEADS,)),
        )
        table = jax.random.normal(keys[2], (HEADS, TOKENS, TOKENS))
        gated = GatedBias(weights, table)
    if request.param == "dropped":
        seeds, rate = dropout.seeds(keys[3], (CLIPS, HEADS)), 0.3
        assert not np.all(kept_weights(seeds, TOKENS, rate))
    weight = jax.random.normal(keys[4], (CLIPS, TOKENS, WIDTH))

    def gradients(form, qkv, gated, seeds):
        def loss(qkv, gated):
            out = form(qkv, gated, seeds, rate)
            return jnp.sum(out * weight), out

        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(qkv, gated)

    expected = jax.jit(gradients, static_argnums=0)(plain, qkv, gated, seeds)
    return gradients, (qkv, gated, seeds), expected


def assert_close(found, expected):
    (_, out), gradients = found
    (_, expected_out), expected_gradients = expected
    np.testing.assert_allclose(out, expected_out, atol=5e-6)
    for gradient, exact in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients)
    ):
        np.testing.assert_allclose(gradient, exact, atol=3e-5)


def test_result_and_gradients_are_those_of_the_plain_form(case):
    gradients, operands, expected = case
    assert_close(jax.jit(gradients, static_argnums=0)(fused, *operands), expected)


@pytest.mark.skipif(jax.device_count() < 4, reason="needs several (fake) devices")
def test_each_device_takes_its_own_clips(case):
    gradients, operands, expected = case
    mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "fsdp"))
    by_clip = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    everywhere = NamedSharding(mesh, PartitionSpec())
    _, gated, seeds = operands
    shardings = (
        by_clip,
        jax.tree.map(lambda _: everywhere, gated),
        None if seeds is None else by_clip,
    )

    def on_mesh(*operands):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return gradients(fused, *operands)

    compiled = jax.jit(on_mesh, in_shardings=shardings).lower(*operands).compile()
    assert "all-gather" not in compiled.as_text()
    found = compiled(*jax.device_put(operands, shardings))
    assert_close(found, expected)
    assert found[1][0].sharding.is_equivalent_to(by_clip, 3)


def test_heads_have_to_fill_the_lanes():
    assert fits(768, 12) and fits(128, 1) and fits(256, 8)
    assert not fits(96, 3) and not fits(192, 3) and not fits(768, 16)


@pytest.mark.parametrize("kind, clips", [("TPU v4", 2), ("TPU v5 lite", 4)])
def test_a_small_vector_memory_holds_fewer_clips(kind, clips):
    device = AbstractDevice(device_kind=kind, num_cores=1, platform="tpu")
    qkv = jax.ShapeDtypeStruct((CLIPS, TOKENS, 3 * WIDTH), jnp.bfloat16)
    with jax.sharding.use_abstract_mesh(
        AbstractMesh((1,), ("data",), abstract_device=device)
    ):
        program = str(jax.make_jaxpr(lambda qkv: fused(qkv, None, None, 0.0))(qkv))
    assert f"grid=(2, {CLIPS // clips}, 1)" in program
