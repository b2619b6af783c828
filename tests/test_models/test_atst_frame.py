import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.atst_frame import tiny_atst_frame
from tests import goldens
from tests.test_models import parity

GOLDEN = goldens.load("ATST-F")


@pytest.fixture(scope="module")
def params():
    return parity.released_params("atst_frame", "ATST-F")


@pytest.fixture(scope="module")
def forward(params):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    model = sed.build("atst_frame", 447)
    mel = jnp.concatenate(
        [parity.synthetic_mel("ATST-F"), model.frontend(parity.waves())]
    )
    return jax.jit(model.apply)({"params": params}, mel)


def test_network_is_the_original_in_float32(forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    parity.assert_network_close(GOLDEN, logits, out, atol=5e-5, block_atol=1e-4)


def test_audio_gives_the_logits_that_each_clip_has_alone(forward):
    logits = forward[0][2:].swapaxes(1, 2)
    goldens.assert_close(GOLDEN, "logits_alone", logits, atol=5e-5)
    # The original's batch changes the quiet clip's logits by as much as 0.99.
    batched = goldens.strided(GOLDEN, "logits", logits) - GOLDEN["logits"]
    assert np.abs(batched[0]).max() > 0.9
    assert np.abs(batched[1]).max() < 5e-5


def test_network_is_the_original_in_float64(params):
    with jax.enable_x64(True):
        model = sed.build("atst_frame", 447, dtype="float64")
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        mel = parity.synthetic_mel("ATST-F").astype(jnp.float64)
        logits, out = jax.jit(model.apply)({"params": params}, mel)
        assert logits.dtype == jnp.float64
        parity.assert_network_close(GOLDEN, logits, out, atol=2e-6, block_atol=2e-6)


def test_gradients_are_the_originals(params):
    loss, gradients = parity.golden_gradients("atst_frame", "ATST-F", params)
    parity.assert_gradients_close(GOLDEN, loss, gradients)


@pytest.mark.parametrize(
    ("n_mel_frames", "n_tokens"),
    [(1001, 250), (1000, 250), (998, 250), (201, 50), (32, 8), (31, 8), (5, 1), (1, 1)],
)
def test_a_token_for_every_40_ms(n_mel_frames, n_tokens):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 64), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_atst_frame().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == (2, n_tokens, 96) == out["patch"].shape


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"10\.02 s long.*windows of at most 10 s"):
        tiny_atst_frame().init(jax.random.key(0), jnp.zeros((1, 1002, 64)))
