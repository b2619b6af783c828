import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.rotary import GatedAttention, RotaryBlock, rms_norm, rotate
from jaxsed.models.sequence import SequenceModel
from tests.test_models import drawn


def test_pairs_turn_by_their_frame():
    features = np.random.default_rng(0).normal(size=(2, 9, 3, 6)).astype(np.float32)
    turned = np.asarray(rotate(features))
    for frame in range(9):
        for pair in range(3):
            angle = frame * 10_000.0 ** (-2 * pair / 6)
            x = (
                features[:, frame, :, 2 * pair]
                + 1j * features[:, frame, :, 2 * pair + 1]
            )
            x = x * np.exp(1j * angle)
            np.testing.assert_allclose(turned[:, frame, :, 2 * pair], x.real, atol=1e-6)
            ours = turned[:, frame, :, 2 * pair + 1]
            np.testing.assert_allclose(ours, x.imag, atol=1e-6)


def test_products_depend_on_the_distance_alone():
    query, key = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
    shape = (1, 5000, 1, 8)
    query, key = (rotate(np.broadcast_to(x, shape))[0, :, 0] for x in (query, key))
    products = np.asarray(query @ key.T)
    for distance in (0, 1, 100):
        diagonal = np.diagonal(products, distance)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=5e-6)
    assert np.diagonal(products, 1)[0] != pytest.approx(products[0, 0], rel=1e-3)


def test_angles_are_exact_for_bfloat16():
    features = jnp.ones((1, 5000, 1, 2), jnp.bfloat16)
    turned = rotate(features)
    assert turned.dtype == jnp.bfloat16
    first, second = np.asarray(turned[0, 4999, 0], np.float32)
    assert first == pytest.approx(np.cos(4999) - np.sin(4999), abs=0.01)
    assert second == pytest.approx(np.cos(4999) + np.sin(4999), abs=0.01)


def test_gates_scale_heads():
    module = GatedAttention(16, 2, 0.0, "float32")
    frames = jax.random.normal(jax.random.key(0), (2, 7, 16))
    params = drawn.params_for(module, frames)["params"]
    gates = {"kernel": np.zeros((16, 2)), "bias": np.array([40.0, -40.0])}
    gated = module.apply({"params": {**params, "gates": gates}}, frames)
    # One head passes as it is and one is closed: its rows of the projection are void.
    only_first = params["proj"]["kernel"].copy()
    only_first[8:] = 0
    opened = {"kernel": np.zeros((16, 2)), "bias": np.array([40.0, 40.0])}
    params = {**params, "gates": opened, "proj": {"kernel": only_first}}
    np.testing.assert_allclose(
        gated, module.apply({"params": params}, frames), atol=1e-6
    )


def test_rms_norm_is_normalize_and_bears_silence():
    frames = np.random.default_rng(0).normal(size=(2, 3, 8)).astype(np.float32)
    frames[0, 1] = 0
    scale = np.linspace(0.5, 2, 8, dtype=np.float32)
    norm = rms_norm("norm", "float32")
    ours = norm.apply({"params": {"scale": scale}}, frames)
    length = np.maximum(np.linalg.norm(frames, axis=-1, keepdims=True), 1e-12)
    np.testing.assert_allclose(ours, frames / length * 8**0.5 * scale, rtol=1e-5)


def test_silent_clips_have_finite_gradients():
    model = SequenceModel("transformer", width=32, layers=2, dtype="float32")
    frames = jnp.zeros((1, 5, 32))
    params = drawn.params_for(model, frames)

    def total(params):
        return jnp.sum(model.apply(params, frames) ** 2)

    for gradient in jax.tree.leaves(jax.jit(jax.grad(total))(params)):
        assert np.isfinite(gradient).all()


def test_parameters_start_as_the_originals():
    block = RotaryBlock(128, 8, True, 0.2, "float32")
    params = jax.jit(block.init)(jax.random.key(0), jnp.zeros((1, 3, 128)))["params"]
    for path, values in jax.tree.leaves_with_path(params):
        name = path[-1].key
        if name == "kernel":
            assert np.std(values) == pytest.approx(0.02, rel=0.1)
        else:
            assert (values == {"bias": 0, "scale": 1}[name]).all()
    assert set(params["attn"]["qkv"]) == set(params["attn"]["proj"]) == {"kernel"}
