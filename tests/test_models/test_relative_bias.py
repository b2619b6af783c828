import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.relative_bias import (
    QueryGate,
    RelativeBias,
    bucket_indices,
    query_gate,
    toeplitz,
)
from tests import goldens

OPS = goldens.load("ops")


def test_buckets_are_the_originals():
    np.testing.assert_array_equal(
        bucket_indices(OPS["beats_bucket_offsets"], 320, 800), OPS["beats_bucket_index"]
    )
    np.testing.assert_array_equal(
        bucket_indices(np.arange(1200), 320, 800), OPS["beats_bucket_index_0_1199"]
    )


@pytest.mark.parametrize("size", [1, 2, 7])
def test_toeplitz_depends_on_column_minus_row(size):
    diagonals = np.arange(2 * size) + 100 * np.arange(3)[:, None]
    matrix = np.asarray(toeplitz(jnp.asarray(diagonals)))
    assert matrix.shape == (3, size, size)
    for row in range(size):
        for column in range(size):
            expected = diagonals[:, column - row]  # negative counts from the end
            np.testing.assert_array_equal(matrix[:, row, column], expected)


def test_the_table_is_looked_up_for_keys_relative_to_queries():
    module = RelativeBias(heads=2, n_buckets=8, max_distance=6)
    table = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    bias = module.apply({"params": {"table": table}}, 9)
    position = np.arange(9)
    offsets = position - position[:, None]
    expected = table[bucket_indices(offsets, 8, 6)].transpose(2, 0, 1)
    np.testing.assert_array_equal(bias, expected)
    shorter = module.apply({"params": {"table": table}}, 5)
    np.testing.assert_array_equal(shorter, expected[:, :5, :5])


def test_its_gradient_counts_the_pairs_of_a_bucket():
    module = RelativeBias(heads=1, n_buckets=8, max_distance=6)
    gradient = jax.grad(
        lambda table: module.apply({"params": {"table": table}}, 9).sum()
    )(jnp.zeros((8, 1)))
    position = np.arange(9)
    buckets = bucket_indices(position - position[:, None], 8, 6)
    np.testing.assert_array_equal(
        gradient[:, 0], np.bincount(buckets.ravel(), minlength=8)
    )


def test_the_gate_is_the_original_formula():
    rng = np.random.default_rng(0)
    query = rng.normal(size=(2, 5, 3, 4))  # clip, token, head, feature
    params = {
        "kernel": rng.normal(size=(4, 8)),
        "bias": rng.normal(size=8),
        "head_scale": rng.normal(size=3),
    }
    gates = query_gate(query, QueryGate(heads=3).apply({"params": params}, 4))
    assert gates.shape == (2, 3, 5) and gates.dtype == jnp.float32
    for clip, token, head in np.ndindex(2, 5, 3):
        outputs = query[clip, token, head] @ params["kernel"] + params["bias"]
        a, b = 1 / (1 + np.exp(-outputs.reshape(2, 4).sum(axis=1)))
        expected = a * (b * params["head_scale"][head] - 1) + 2
        np.testing.assert_allclose(gates[clip, head, token], expected, atol=1e-5)


def test_the_gate_is_float32_for_bfloat16_queries():
    query = jnp.ones((1, 2, 3, 4), jnp.bfloat16)
    weights, variables = QueryGate(heads=3).init_with_output(jax.random.key(0), 4)
    gates = query_gate(query, weights)
    assert gates.dtype == jnp.float32
    params = variables["params"]
    assert not np.any(params["bias"]) and np.all(params["head_scale"] == 1)
    # With b = a = 1/2 in the middle: g = 1/2 (1/2 - 1) + 2.
    assert np.abs(gates - 1.75).max() < 0.2
