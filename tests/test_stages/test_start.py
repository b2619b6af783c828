import jax
import numpy as np
import pytest

from jaxsed.data.records import PreparedData
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.stages import start
from jaxsed.stages.program import init_params
from jaxsed.weights import files


def test_start_takes_the_encoder_and_leaves_heads_fresh(teachers):
    folder = teachers["t1"]
    loaded, _ = files.load_model(folder)
    model = sed.build("tiny_atst_frame", loaded["strong_head"]["bias"].shape[0])
    abstract = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    scratch = start.start_params(model, abstract, 0, "")
    started = start.start_params(model, abstract, 0, folder)
    jax.tree.map(np.testing.assert_array_equal, started["encoder"], loaded["encoder"])
    head = ("strong_head", "kernel")
    np.testing.assert_array_equal(started[head[0]][head[1]], scratch[head[0]][head[1]])
    assert np.any(started[head[0]][head[1]] != loaded[head[0]][head[1]])


def test_start_refuses_another_encoder(teachers):
    folder = teachers["t1"]
    model = sed.build("tiny_fpasst", 20)
    abstract = jax.eval_shape(lambda: init_params(model, jax.random.key(0)))
    with pytest.raises(InputError, match="holds the encoder tiny_atst_frame"):
        start.start_params(model, abstract, 0, folder)


def test_prior_makes_an_untrained_head_predict_how_common_classes_are(small):
    data = PreparedData(small()["data"]["train"])
    c = len(data.vocabulary)
    heads = {"kernel": np.zeros((4, c)), "bias": np.zeros(c)}
    params = start.with_prior({"strong_head": heads, "weak_head": heads}, data)
    found = jax.nn.sigmoid(params["strong_head"]["bias"])
    expected = data.activity().class_seconds() / data.durations.sum()
    np.testing.assert_allclose(found, np.clip(expected, 1e-4, 0.5), rtol=1e-4)
    clips = data.activity().class_clips() / len(data)
    found = jax.nn.sigmoid(params["weak_head"]["bias"])
    np.testing.assert_allclose(found, np.clip(clips, 1e-4, 0.5), rtol=1e-4)
