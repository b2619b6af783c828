import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.m2d import m2d, tiny_m2d
from tests import goldens
from tests.test_models import lengths, parity

GOLDEN = goldens.load("M2D")
SHORT = goldens.load("M2D_short")


@pytest.fixture(scope="module")
def params():
    return parity.released_params("m2d", "M2D")


@pytest.fixture(scope="module")
def forward(params):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    model = sed.build("m2d", 447)
    mel = jnp.concatenate([parity.synthetic_mel("M2D"), model.frontend(parity.waves())])
    return jax.jit(model.apply)({"params": params}, mel)


def test_network_is_the_original_in_float32(forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    parity.assert_network_close(GOLDEN, logits, out, atol=5e-5, block_atol=1e-4)


def test_audio_gives_the_originals_logits(forward):
    parity.assert_audio_close(GOLDEN, forward[0][2:].swapaxes(1, 2))


def test_network_is_the_original_in_float64(params):
    parity.assert_float64_close(GOLDEN, "m2d", "M2D", params)


def test_a_short_clip_is_filled_up_as_in_the_original(params):
    """321 mel frames, of which the last is a step of its own."""
    mel = parity.synthetic_mel("M2D")[:, :321]
    frames, _ = jax.jit(m2d().apply)({"params": params["encoder"]}, mel)
    goldens.assert_close(SHORT, "seq_321", frames, atol=5e-5)


def test_gradients_are_the_originals(params):
    loss, gradients = parity.golden_gradients("m2d", "M2D", params)
    parity.assert_gradients_close(GOLDEN, loss, gradients)


def test_layer_decay_groups_are_the_originals():
    ours = parity.layer_decay_groups("m2d")
    theirs = parity.golden_layer_decay_groups("M2D")
    lowest = min(theirs)
    count, size = theirs[lowest]
    # `norm_stats`, two numbers that never train, is a parameter there.
    theirs[lowest] = (count - 1, size - 2)
    assert ours == theirs


@pytest.mark.parametrize(
    ("n_mel_frames", "n_steps"),
    [(1001, 62), (995, 62), (992, 62), (321, 21), (320, 20), (17, 2), (1, 1)],
)
def test_a_frame_of_five_tokens_for_every_160_ms(n_mel_frames, n_steps):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 80), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_m2d().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == (2, n_steps, 5 * 96)
    assert out["patch"].shape == (2, 5 * n_steps, 96)
    assert out["block_2"].shape == (2, 1 + 5 * n_steps, 96)


def test_padding_changes_nothing_for_a_clip():
    lengths.assert_padding_changes_nothing(tiny_m2d(), 80, (200, 33, 32, 1, 161))


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"10\.02 s long.*windows of at most 10 s"):
        tiny_m2d().init(jax.random.key(0), jnp.zeros((1, 1002, 80)))


def test_from_scratch_it_starts_as_timms_vision_transformer():
    mel = jnp.zeros((1, 17, 80))
    embed = jax.jit(tiny_m2d().init)(jax.random.key(0), mel)["params"]["embed"]
    assert np.std(embed["positions"]) == pytest.approx(0.02, rel=0.02)
    assert np.std(embed["cls_token"]) == pytest.approx(1e-6, rel=0.3)
    for leaf in embed["patch"].values():  # PyTorch's convolutions: 1/sqrt(16 * 16)
        assert 0.95 / 16 < np.abs(leaf).max() <= 1 / 16
