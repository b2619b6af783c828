import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jaxsed.models import attention, plain_attention, relative_bias
from jaxsed.models.operations import Operations, operations


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


class Layers(nn.Module):
    """Two norms, of which the first output needs one."""

    @nn.compact
    def __call__(self, x):
        first = nn.Dense(3, name="first")(nn.LayerNorm(name="norm1")(x))
        return first, nn.Dense(7, name="second")(nn.LayerNorm(name="norm2")(x))


def apply(key, x):
    return Layers().init_with_output(key, x)[0]


KEY = jax.eval_shape(lambda: jax.random.key(0))


def test_norms_and_products():
    found = operations(apply, KEY, shape(2, 4, 5))
    assert found == Operations(products=2 * 4 * 5 * (3 + 7), norms=2 * (2 * 4 * 5))
    assert found.total == 400 + 80
    assert found.gflops == 2 * 480 / 1e9


def test_what_no_output_needs_does_not_count():
    found = operations(lambda key, x: apply(key, x)[0], KEY, shape(2, 4, 5))
    assert found == Operations(products=2 * 4 * 5 * 3, norms=2 * 4 * 5)


def test_counting_and_running_do_not_see_each_other():
    def traced():
        return str(jax.make_jaxpr(apply)(KEY, shape(2, 4, 5)))

    before = traced()  # which JAX remembers
    assert operations(apply, KEY, shape(2, 4, 5)).norms == 2 * (2 * 4 * 5)
    assert traced() == before
    assert "layer_norm" not in before


@pytest.mark.parametrize("one_by_one", [False, True])
def test_scores(monkeypatch, one_by_one):
    if one_by_one:
        monkeypatch.setattr(plain_attention, "CACHED_SCORES", 1)
    clips, tokens, heads, width = 2, 6, 3, 4
    operand = shape(clips, tokens, heads, width)
    bias = shape(tokens, tokens)
    found = operations(attention.attend, operand, operand, operand, bias)
    scores = clips * heads * tokens**2
    assert found == Operations(products=2 * scores * width, scores=scores)


def test_gated_attention():
    def attend(x, gated):
        return attention.attend(x, x, x, gated=gated)

    weights = relative_bias.GateWeights(shape(4, 2), shape(2), shape(3))
    gated = relative_bias.GatedBias(weights, shape(3, 6, 6))
    found = operations(attend, shape(2, 6, 3, 4), gated)
    gates = (2 * 6 * 3) * 4 * 2
    assert found == Operations(products=2 * 216 * 4 + gates, scores=216)


def test_loops_count_as_often_as_they_run():
    def loop(x, w):
        return jax.lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=6)[0]

    assert operations(loop, shape(2, 5), shape(5, 5)) == Operations(6 * 2 * 5 * 5)


def test_of_branches_the_largest_and_of_platforms_the_default():
    def branches(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

    def platforms(x, w):
        return jax.lax.platform_dependent(
            x, w, cpu=lambda x, w: x @ w @ w, default=lambda x, w: x @ w
        )

    assert operations(branches, shape(2, 5), shape(5, 5)).products == 2 * 2 * 5 * 5
    assert operations(platforms, shape(2, 5), shape(5, 5)).products == 2 * 5 * 5


def test_nothing():
    assert operations(lambda x: x + 1, shape(3)) == Operations()
