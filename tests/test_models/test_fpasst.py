import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.compression import parse
from jaxsed.models.fpasst import GRID, tiny_fpasst
from tests import goldens
from tests.test_models import parity

GOLDEN = goldens.load("fpasst")


@pytest.fixture(scope="module")
def params():
    return parity.released_params("fpasst", "fpasst")


@pytest.fixture(scope="module")
def forward(params):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    model = sed.build("fpasst", 447)
    mel = jnp.concatenate(
        [parity.synthetic_mel("fpasst"), model.frontend(parity.waves())]
    )
    return jax.jit(model.apply)({"params": params}, mel)


def test_network_is_the_original_in_float32(forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    parity.assert_network_close(GOLDEN, logits, out, atol=5e-5, block_atol=1e-4)
    # The original reads 64 channels x 32 rows as 16 x 128.
    stem = np.asarray(out["stem"]).transpose(0, 3, 2, 1).reshape(2, 16, 128, 250)
    goldens.assert_close(GOLDEN, "net_stem", stem, atol=5e-5)


def test_audio_gives_the_originals_logits(forward):
    parity.assert_audio_close(GOLDEN, forward[0][2:].swapaxes(1, 2))


def test_network_is_the_original_in_float64(params):
    parity.assert_float64_close(GOLDEN, "fpasst", "fpasst", params)


def test_gradients_are_the_originals(params):
    loss, gradients = parity.golden_gradients("fpasst", "fpasst", params)
    parity.assert_gradients_close(GOLDEN, loss, gradients)


@pytest.mark.parametrize(
    ("n_mel_frames", "n_tokens"), [(1000, 250), (999, 250), (200, 50), (5, 2), (1, 1)]
)
def test_a_frame_for_every_40_ms_without_cls_and_dist(n_mel_frames, n_tokens):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 128), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_fpasst().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == (2, n_tokens, 96)
    assert out["stem"].shape[:3] == (2, n_tokens, 32)
    assert out["block_2"].shape == (2, n_tokens + 2, 96)


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"10\.01 s long.*windows of at most 10 s"):
        tiny_fpasst().init(jax.random.key(0), jnp.zeros((1, 1001, 128)))


@pytest.mark.parametrize("text", ["fshift-4", "avg_pool-2", "patch_pi-4"])
def test_tokens_stand_for_the_middle_of_two_steps_at_every_compression(text):
    def heard(grid):  # the end of its own step, where the one behind it begins
        frame = (np.arange(grid.steps) + 1) * grid.frames_per_step
        return frame[None, :, None] / grid.mel_frames_per_second

    within = slice(4, 240)  # steps that lie between two coarse ones
    coarse = parse(text).of_grid(GRID)
    refined = np.asarray(coarse.refined(jnp.asarray(heard(coarse))))
    np.testing.assert_allclose(refined[:, within], heard(GRID)[:, within], atol=1e-5)
