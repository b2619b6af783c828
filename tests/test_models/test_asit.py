import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.asit import GRID, STORED_GRID, tiny_asit
from jaxsed.models.patches import positions_on_grid
from tests import goldens
from tests.test_models import lengths, parity

GOLDEN = goldens.load("ASIT")


@pytest.fixture(scope="module")
def params():
    return parity.released_params("asit", "ASIT")


@pytest.fixture(scope="module")
def forward(params):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    model = sed.build("asit", 447)
    mel = jnp.concatenate(
        [parity.synthetic_mel("ASIT"), model.frontend(parity.waves())]
    )
    return jax.jit(model.apply)({"params": params}, mel)


def test_network_is_the_original_in_float32(forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    parity.assert_network_close(GOLDEN, logits, out, atol=5e-5, block_atol=1e-4)


def test_audio_gives_the_originals_logits(forward):
    parity.assert_audio_close(GOLDEN, forward[0][2:].swapaxes(1, 2))


def test_network_is_the_original_in_float64(params):
    parity.assert_float64_close(GOLDEN, "asit", "ASIT", params)


def test_gradients_are_the_originals(params):
    loss, gradients = parity.golden_gradients("asit", "ASIT", params)
    parity.assert_gradients_close(GOLDEN, loss, gradients)


def test_positions_are_resized_as_in_the_original(params):
    stored = jnp.asarray(params["encoder"]["embed"]["positions"])
    first, others = positions_on_grid(stored, GRID, STORED_GRID)
    np.testing.assert_array_equal(first, stored[:1])
    table = jnp.concatenate([first, others.reshape(-1, 768)])[None]
    goldens.assert_close(GOLDEN, "net_pos", table, atol=2e-6)


def test_layer_decay_groups_are_the_originals():
    ours = parity.layer_decay_groups("asit")
    assert ours == parity.golden_layer_decay_groups("ASIT")


@pytest.mark.parametrize(
    ("n_mel_frames", "n_steps"), [(998, 62), (992, 62), (320, 20), (17, 2), (1, 1)]
)
def test_eight_frames_for_every_160_ms_and_cls(n_mel_frames, n_steps):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 128), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_asit().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == out["block_2"].shape == (2, 1 + 8 * n_steps, 96)
    assert out["patch"].shape == (2, 8 * n_steps, 96)


def test_padding_changes_nothing_for_a_clip():
    lengths.assert_padding_changes_nothing(tiny_asit(), 128, (200, 33, 32, 1, 161))


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"9\.99 s long.*windows of at most 10 s"):
        tiny_asit().init(jax.random.key(0), jnp.zeros((1, 999, 128)))


def test_from_scratch_it_starts_as_the_original():
    mel = jnp.zeros((1, 17, 128))
    embed = jax.jit(tiny_asit().init)(jax.random.key(0), mel)["params"]["embed"]
    assert embed["positions"].shape == (1 + 8 * 37, 96)
    assert np.std(embed["positions"]) == pytest.approx(0.02, rel=0.02)
    assert np.std(embed["cls_token"]) == pytest.approx(0.02, rel=0.3)
    for leaf in embed["patch"].values():  # PyTorch's convolutions: 1/sqrt(16 * 16)
        assert 0.95 / 16 < np.abs(leaf).max() <= 1 / 16
