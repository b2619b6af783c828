import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import dropout, plain_attention
from jaxsed.models.plain_attention import Operands, attend_by_head

CLIPS, HEADS, TOKENS = 3, 2, 7


def definition(operands, table, kept):
    query, key, value, bias, gate, _ = operands
    scores = jnp.einsum("bhqe,bhke->bhqk", query, key)
    if table is not None:
        scores = scores + (1 if gate is None else gate[..., None]) * table
    if bias is not None:
        scores = scores + bias
    weights = jax.nn.softmax(scores, axis=-1)
    if kept is not None:
        weights = jnp.where(kept, weights, 0) / 0.7
    return jnp.einsum("bhqk,bhke->bhqe", weights, value)


def drawn(bias_shape, shared, drops):
    keys = jax.random.split(jax.random.key(0), 6)
    features = (CLIPS, HEADS, TOKENS, 4)
    query, key, value = (jax.random.normal(k, features) for k in keys[:3])
    bias = None if bias_shape is None else jax.random.normal(keys[3], bias_shape)
    gate = jax.random.normal(keys[4], features[:3]) if "gated" in shared else None
    shape = (HEADS, TOKENS, TOKENS)
    table = jax.random.normal(keys[5], shape) if "table" in shared else None
    seeds = dropout.seeds(jax.random.key(1), (CLIPS, HEADS)) if drops else None
    return Operands(query, key, value, bias, gate, seeds), table


@pytest.mark.parametrize("cached_scores", [plain_attention.CACHED_SCORES, 0])
@pytest.mark.parametrize(
    "bias_shape, shared, drops",
    [
        (None, "nothing", False),
        ((CLIPS, 1, 1, TOKENS), "nothing", False),
        ((1, HEADS, TOKENS, TOKENS), "nothing", True),
        (None, "table", False),
        ((CLIPS, 1, 1, TOKENS), "table", True),
        (None, "gated table", False),
        ((CLIPS, 1, 1, TOKENS), "gated table", True),
    ],
)
def test_result_and_gradients_are_the_definitions(
    monkeypatch, cached_scores, bias_shape, shared, drops
):
    monkeypatch.setattr(plain_attention, "CACHED_SCORES", cached_scores)
    operands, table = drawn(bias_shape, shared, drops)
    seeds, floats = operands.seeds, operands._replace(seeds=None)
    kept = None
    if drops:
        kept = plain_attention.kept_weights(seeds, TOKENS, 0.3)
        assert 0 < np.mean(kept) < 1
    weight = jax.random.normal(jax.random.key(2), operands.query.shape)

    def loss(attention, floats, table):
        return jnp.sum(attention(floats, table) * weight)

    def ours(floats, table):
        return attend_by_head(floats._replace(seeds=seeds), table, 0.3)

    found, expected = (
        jax.jit(jax.value_and_grad(functools.partial(loss, way), argnums=(0, 1)))(
            floats, table
        )
        for way in (ours, lambda floats, table: definition(floats, table, kept))
    )
    for our, their in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, atol=2e-5)


def test_one_by_one_keeps_no_weights_for_the_backward_pass(monkeypatch):
    operands, table = drawn(None, "gated table", False)

    def n_kept():
        _, pull_back = jax.vjp(attend_by_head, operands, table)
        return sum(leaf.size for leaf in jax.tree.leaves(pull_back))

    together = n_kept()
    monkeypatch.setattr(plain_attention, "CACHED_SCORES", 0)
    assert n_kept() <= together - CLIPS * HEADS * TOKENS**2
