import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models.heads import (
    HEADS,
    TOKENS_EPSILON,
    Heard,
    LinearHead,
    align,
    average_matrix,
)
from tests import goldens


@pytest.mark.parametrize("name", ["pool496", "pool497", "linear62"])
def test_align_is_the_originals_resampling(name):
    ops = goldens.load("ops")
    aligned = align(jnp.asarray(ops[f"{name}_in"]), 250)
    np.testing.assert_allclose(aligned, ops[f"{name}_out"], atol=1e-6)


def test_align_leaves_the_right_length_alone():
    frames = jax.random.normal(jax.random.key(0), (2, 250, 3))
    assert align(frames, 250) is frames


@pytest.mark.parametrize("length", [1, 7, 62, 249, 251, 497, 1000])
def test_align_keeps_constants_and_order(length):
    ramp = jnp.arange(length, dtype=jnp.float32)[None, :, None]
    aligned = np.asarray(align(ramp, 250))[0, :, 0]
    assert aligned.shape == (250,) and (np.diff(aligned) >= 0).all()
    np.testing.assert_allclose(align(jnp.ones_like(ramp), 250), 1, rtol=1e-6)


def test_a_matrix_averages_with_overlap():
    third = 1 / 3
    np.testing.assert_allclose(
        average_matrix(5, 2),
        [[third, third, third, 0, 0], [0, 0, third, third, third]],
    )


def test_align_keeps_the_type():
    assert align(jnp.ones((1, 5, 2), jnp.bfloat16), 3).dtype == jnp.bfloat16


def test_head_starts_like_the_original_and_gives_float32_logits():
    head = LinearHead(n_classes=50)
    frames = jax.random.normal(jax.random.key(1), (2, 4, 400), jnp.bfloat16)
    params = head.init(jax.random.key(0), frames)["params"]
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    assert kernel.shape == (400, 50) and bias.shape == (50,)
    for values in (kernel, bias):  # uniform in +-1/sqrt(400)
        assert np.abs(values).max() <= 0.05
        assert values.std() == pytest.approx(0.05 / np.sqrt(3), rel=0.2)
    logits = head.apply({"params": params}, frames)
    assert logits.dtype == jnp.float32
    exact = np.asarray(frames, np.float32) @ kernel + bias
    np.testing.assert_allclose(logits, exact, atol=1e-2)
    full = head.apply({"params": params}, frames.astype(jnp.float32))
    np.testing.assert_allclose(full, exact, atol=1e-5)


def test_a_norm_may_stand_in_front_of_the_head():
    head = LinearHead(3, TOKENS_EPSILON)
    summary = jnp.array([[1.0, 1.001, 1.002, 0.999]])  # epsilon counts
    params = head.init(jax.random.key(0), summary)["params"]
    params["norm"] = {"scale": jnp.arange(4.0), "bias": jnp.ones(4)}
    centred = np.asarray(summary) - np.mean(summary)
    normed = centred / np.sqrt(np.mean(centred**2) + 1e-5) * np.arange(4) + 1
    expected = normed @ params["kernel"] + params["bias"]
    logits = head.apply({"params": params}, summary)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


class Model(nn.Module):
    head: str

    @nn.compact
    def __call__(self, heard):
        return HEADS[self.head].logits(heard, 3)


@pytest.mark.parametrize(
    ("head", "name"), [("tokens", "summary"), ("cls", "cls_summary")]
)
def test_summaries_give_clips_their_logits_and_frames_keep_theirs(head, name):
    frames = jax.random.normal(jax.random.key(0), (2, 6, 4))
    ramp = jnp.arange(8.0).reshape(2, 4)
    encoded = {"summary": 1.0 + ramp, "cls_summary": 2.0 - ramp**2}
    heard = Heard(frames, None, encoded, lambda values: values)
    model = Model(head)
    params = model.init(jax.random.key(1), heard)
    logits, clip_logits = model.apply(params, heard)
    strong = {"params": params["params"]["strong_head"]}
    np.testing.assert_allclose(logits, LinearHead(3).apply(strong, frames), atol=1e-6)
    weak = {"params": params["params"]["weak_head"]}
    expected = LinearHead(3, TOKENS_EPSILON).apply(weak, encoded[name])
    np.testing.assert_allclose(clip_logits, expected, atol=1e-6)
    assert HEADS[head].needs == name
