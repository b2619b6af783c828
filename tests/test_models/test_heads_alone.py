"""Heads on what an encoder gave before say what the whole model says."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.models import sed
from jaxsed.models.heads_alone import heads_alone, heard_shapes

SECONDS = 2.0
HEADS = {
    "aligned": {"sequence_kind": "attention", "sequence_width": 16},
    "summary": {"head": "tokens", "dtype": "bfloat16"},
    "steps": {"head": "token_semantic"},
}


class OneLayer(nn.Module):
    """An encoder that gives all that heads may ask for, and costs nothing."""

    original: Any
    dtype: str

    def __getattr__(self, name):  # grid, frontend and the like
        return getattr(self.original, name)

    @nn.compact
    def __call__(self, mel, n_mel_frames=None):
        steps = self.grid.cut(mel)
        frames = nn.Dense(6, dtype=self.dtype)(steps.reshape(*steps.shape[:2], -1))
        summary = frames.astype("float32").mean(axis=1)
        return frames, {"steps": frames, "summary": summary, "image": mel}


@pytest.fixture(params=HEADS)
def whole(request):
    """A model, its parameters, and what it says of two clips."""
    model = sed.build("tiny_atst_frame", 3).clone(**HEADS[request.param])
    model = model.clone(encoder=OneLayer(model.encoder, model.dtype))
    mel = jnp.asarray(np.random.default_rng(0).normal(size=(2, 201, 64)), "float32")
    params = model.init(jax.random.key(0), mel)["params"]
    return request.param, model, params, *model.apply({"params": params}, mel)


def test_heads_alone_say_what_the_whole_model_says(whole):
    _, model, params, logits, out = whole
    alone = heads_alone(model, SECONDS)
    heads = {name: tree for name, tree in params.items() if name != "encoder"}
    heard = [out[name].astype(jnp.float32) for name in model.heard]
    found, found_out = alone.apply({"params": heads}, *heard)
    assert found.shape == (2, 50, 3) and found.dtype == jnp.float32
    np.testing.assert_array_equal(found, logits)
    np.testing.assert_array_equal(found_out["clip_logits"], out["clip_logits"])


def test_what_is_heard_is_known_before_it_is_computed(whole):
    name, model, params, _, out = whole
    shapes = heard_shapes(model, jax.eval_shape(lambda: params), SECONDS)
    assert list(shapes) == list(model.heard) and name in shapes
    for name, leaf in shapes.items():
        assert (leaf.shape, leaf.dtype) == (out[name].shape[1:], out[name].dtype)
