import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.batch_norm import BatchNorm
from jaxsed.models.blocks import drop
from jaxsed.training import remat

ENCODERS = ("tiny_atst_frame", "tiny_beats", "tiny_frame_mn10")


def gradient_of(encoder, policy):
    """A function of parameters, and their shapes."""
    model = sed.build(encoder, n_classes=3)
    mel = jnp.ones((2, 101, model.frontend.n_mels)) * jnp.linspace(0, 1, 101)[:, None]

    def loss(params):
        with remat.layers(policy, model.encoder.layer_names):
            (logits, _), recorded = model.apply(
                {"params": params},
                mel,
                rngs={"dropout": jax.random.key(2)},
                mutable=["updates"],
            )
        return jnp.mean(logits**2), recorded

    shapes = jax.eval_shape(model.init, jax.random.key(0), mel)["params"]
    return jax.grad(loss, has_aux=True), shapes


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_block_is_computed_again(encoder):
    grad, params = gradient_of(encoder, "blocks")
    program = str(jax.make_jaxpr(grad)(params))
    blocks = [name for name in params["encoder"] if name.startswith("block_")]
    assert len(blocks) >= 2
    # Once each in the backward pass; the forward pass keeps none of them.
    assert program.count("remat") >= len(blocks)
    plain, _ = gradient_of(encoder, "none")
    assert "remat" not in str(jax.make_jaxpr(plain)(params))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fewer_products_are_computed_again_where_their_results_are_kept(encoder):
    def n_products(policy):
        grad, params = gradient_of(encoder, policy)
        return str(jax.make_jaxpr(grad)(params)).count("dot_general")

    assert n_products("none") <= n_products("dots") < n_products("blocks")


class Layer(nn.Module):
    """Draws, keeps running statistics, and does what the caller says is frozen."""

    @nn.compact
    def __call__(self, x):
        x = BatchNorm(name="norm")(nn.Dense(8, name="dense")(x))
        x = drop(self, jnp.tanh(x), 0.5)
        held = self.get_variable("frozen", "mean", False)
        return x * (2 if held else 3)


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        for name in ("block_0", "block_1"):
            x = Layer(name=name)(x)
        return x


class Model(nn.Module):
    def setup(self):
        self.encoder = Encoder()

    def __call__(self, x):
        return self.encoder(x)


@pytest.mark.parametrize("policy", remat.POLICIES)
def test_gradients_draws_and_statistics_are_the_same(policy):
    x = jax.random.normal(jax.random.key(0), (4, 8))
    params = Model().init(jax.random.key(1), x)["params"]
    frozen = {"encoder": {"block_0": {"mean": remat.Fixed(True)}}}

    def loss(params, policy):
        with remat.layers(policy, ["block_0", "block_1"]):
            found, recorded = Model().apply(
                {"params": params, "frozen": frozen},
                x,
                rngs={"dropout": jax.random.key(2)},
                mutable=["updates"],
            )
        return jnp.mean(found**2), (found, recorded)

    run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    plain, again = run(params, "none"), run(params, policy)
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    (_, (found, recorded)), _ = again
    assert np.any(found == 0) and set(recorded["updates"]["encoder"]) == {
        "block_0",
        "block_1",
    }


def test_an_unknown_policy_is_refused():
    with (
        pytest.raises(InputError, match="did you mean 'blocks'"),
        remat.layers("block", []),
    ):
        pass
