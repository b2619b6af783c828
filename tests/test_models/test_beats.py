import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.beats import FULL, TINY, Beats, tiny_beats
from jaxsed.models.position_convolution import tap_norms
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens, synth
from tests.test_models import drawn, lengths, parity

GOLDEN = goldens.load("BEATs")
OPS = goldens.load("ops")
NO_DROPOUT = {"input_dropout": 0, "dropout": 0, "attention_dropout": 0}


@pytest.fixture(scope="module")
def params():
    return parity.released_params("beats", "BEATs")


@pytest.fixture(scope="module")
def forward(params):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    model = sed.build("beats", 447)
    mel = jnp.concatenate(
        [parity.synthetic_mel("BEATs"), model.frontend(parity.waves())]
    )
    return jax.jit(model.apply)({"params": params}, mel)


def assert_embedding_close(out, atol):
    for name, stage in (
        ("proj", out["projected"]),
        ("posconv", out["position"]),
        ("encin", out["embedded"]),
    ):
        goldens.assert_close(GOLDEN, f"net_{name}", stage, atol)


def test_network_is_the_original_in_float32(forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    assert_embedding_close(out, atol=5e-5)
    parity.assert_network_close(GOLDEN, logits, out, atol=5e-5, block_atol=1e-4)


def test_audio_gives_the_originals_logits(forward):
    parity.assert_audio_close(GOLDEN, forward[0][2:].swapaxes(1, 2))


def test_network_is_the_original_in_float64(params):
    parity.assert_float64_close(GOLDEN, "beats", "BEATs", params)
    with jax.enable_x64(True):
        mel = parity.synthetic_mel("BEATs").astype(jnp.float64)
        bottom = {name: params["encoder"][name] for name in ("embed", "relative_bias")}
        bottom = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), bottom)
        encoder = Beats(dataclasses.replace(FULL, depth=0), "float64")
        _, out = jax.jit(encoder.apply)({"params": bottom}, mel)
        assert_embedding_close(out, atol=2e-6)


def test_gradients_are_the_originals(params):
    loss, gradients = parity.golden_gradients("beats", "BEATs", params)
    parity.assert_gradients_close(GOLDEN, loss, gradients)


def test_the_kernel_of_the_positions_is_the_originals():
    magnitude, direction = (
        synth.synth_tensor(
            f"0.parametrizations.weight.original{index}", shape, "float32", 0
        )
        for index, shape in enumerate([(1, 1, 128), (768, 48, 128)])
    )
    direction = direction.transpose(2, 1, 0)
    kernel = direction * (magnitude[0, 0] / tap_norms(direction))[:, None, None]
    np.testing.assert_allclose(
        np.asarray(kernel).transpose(2, 1, 0)[::96, ::6, ::8],
        OPS["beats_posconv_effective_weight"],
        atol=1e-6,
    )


def test_layer_decay_groups_are_the_originals():
    ours = parity.layer_decay_groups("beats")
    # We hold query, key and value as one: 4 parameters less in each of 12 blocks.
    theirs = {
        rate: (count - 4, size)
        for rate, (count, size) in parity.golden_layer_decay_groups("BEATs").items()
    }
    assert ours == theirs


def test_there_and_back_again_and_both_spellings_of_weight_norm(params):
    released = synth.synth_state_dict(goldens.manifest("BEATs"), 0)
    back = to_released("beats", params)
    assert set(back) == set(released)
    for key, array in released.items():
        np.testing.assert_array_equal(back[key], array, err_msg=key)
    position = "model.model.encoder.pos_conv.0"
    for theirs, ours in (("original0", "weight_g"), ("original1", "weight_v")):
        key = f"{position}.parametrizations.weight.{theirs}"
        released[f"{position}.{ours}"] = released.pop(key)
    again = from_released("beats", released)
    assert jax.tree.all(jax.tree.map(np.array_equal, again, params))


@pytest.mark.parametrize(
    ("n_mel_frames", "n_steps"), [(998, 62), (992, 62), (320, 20), (17, 2), (1, 1)]
)
def test_eight_frames_for_every_160_ms(n_mel_frames, n_steps):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 128), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_beats().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == out["block_2"].shape == (2, 8 * n_steps, 96)
    assert out["patch"].shape == (2, 8 * n_steps, 64)


def test_padding_changes_nothing_for_a_clip():
    lengths.assert_padding_changes_nothing(tiny_beats(), 128, (200, 33, 32, 1, 161))


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"9\.99 s long.*windows of at most 10 s"):
        tiny_beats().init(jax.random.key(0), jnp.zeros((1, 999, 128)))


@pytest.fixture(scope="module")
def tiny():
    """The tiny encoder, input of two clips and parameters."""
    encoder = tiny_beats()
    mel = jax.random.normal(jax.random.key(1), (2, 48, 128))
    return encoder, mel, drawn.params_for(encoder, mel)


def test_a_training_step_lowers_the_loss_and_reaches_every_parameter(tiny):
    encoder, mel, params = tiny

    def loss_fn(params, key):
        rngs = {"dropout": key} if key is not None else {}
        frames, _ = encoder.apply(params, mel, jnp.array([48, 40]), rngs=rngs)
        return jnp.mean((frames - 1) ** 2)

    step = jax.jit(jax.value_and_grad(loss_fn))
    loss, gradients = step(params, jax.random.key(3))
    assert np.isfinite(loss)
    assert all(
        np.isfinite(leaf).all() and np.any(leaf) for leaf in jax.tree.leaves(gradients)
    )
    moved = jax.tree.map(lambda x, g: x - 1e-2 * g, params, gradients)
    assert loss_fn(moved, None) < loss_fn(params, None)


def test_dropout_is_active_with_a_key_only(tiny):
    encoder, mel, params = tiny
    plain, _ = encoder.apply(params, mel)
    dropped, _ = encoder.apply(params, mel, rngs={"dropout": jax.random.key(0)})
    assert np.abs(plain - dropped).max() > 0.1
    without = Beats(dataclasses.replace(TINY, **NO_DROPOUT, layer_drop=0))
    same, _ = without.apply(params, mel, rngs={"dropout": jax.random.key(0)})
    np.testing.assert_array_equal(same, plain)


def test_layer_drop_leaves_a_block_out_for_the_whole_batch(tiny):
    _, mel, params = tiny
    encoder = Beats(dataclasses.replace(TINY, **NO_DROPOUT, layer_drop=0.5))
    outs = jax.vmap(
        lambda key: encoder.apply(params, mel, rngs={"dropout": key})[1]["block_0"]
    )(jax.random.split(jax.random.key(0), 64))
    _, plain = encoder.apply(params, mel)
    out = np.isclose(outs, plain["embedded"], atol=1e-6).all(axis=(2, 3))
    kept = np.isclose(outs, plain["block_0"], atol=1e-4).all(axis=(2, 3))
    assert (out ^ kept).all()
    assert (out[:, 0] == out[:, 1]).all()
    assert 16 < out[:, 0].sum() < 48


def test_from_scratch_it_starts_as_the_original():
    config = dataclasses.replace(TINY, depth=1)
    params = jax.jit(Beats(config).init)(jax.random.key(0), jnp.zeros((1, 17, 128)))
    params = params["params"]
    embed, gate = params["embed"], params["block_0"]["gate"]
    assert 0.95 / 16 < np.abs(embed["patch"]["kernel"]).max() <= 1 / 16
    for leaf in embed["proj"].values():  # PyTorch's dense layers
        assert 0.9 / 8 < np.abs(leaf).max() <= 1 / 8
    for table in (params["relative_bias"]["table"], gate["kernel"]):
        assert np.std(table) == pytest.approx(0.02, rel=0.1)
