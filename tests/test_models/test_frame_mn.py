import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import optim
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.frame_mn import frame_mn06, frame_mn10, tiny_frame_mn10
from jaxsed.weights.mapping import from_released, to_released
from tests import goldens, synth
from tests.test_models import drawn, lengths, parity

NAMES = ("frame_mn06", "frame_mn10")
BLOCKS = {"block0": "block_0", "block5": "block_5", "block11": "block_11"}


@pytest.fixture(scope="module", params=NAMES)
def released(request):
    name = request.param
    return name, parity.released_params(name, name), goldens.load(name)


@pytest.fixture(scope="module")
def forward(released):
    """One float32 pass over the synthetic mel (clips 0, 1) and the audio (2, 3)."""
    name, params, _ = released
    model = sed.build(name, 447)
    mel = jnp.concatenate([parity.synthetic_mel(name), model.frontend(parity.waves())])
    return jax.jit(model.apply)({"params": params}, mel)


def assert_network_close(golden, logits, out, atol, block_atol):
    for theirs, ours in BLOCKS.items():  # theirs: [b, c, f, t]
        image = out[ours].transpose(0, 3, 2, 1)
        goldens.assert_close(golden, f"net_{theirs}", image, block_atol)
    for theirs, stage in (
        ("seq", out["frames"]),
        ("seq250", out["aligned"]),
        ("logits", logits.swapaxes(1, 2)),
        ("weak", out["clip_logits"]),
    ):
        goldens.assert_close(golden, f"net_{theirs}", stage, atol)


def test_network_is_the_original_in_float32(released, forward):
    logits, out = jax.tree.map(lambda x: x[:2], forward)
    assert_network_close(released[2], logits, out, atol=5e-5, block_atol=1e-4)


def test_audio_gives_the_originals_logits(released, forward):
    parity.assert_audio_close(released[2], forward[0][2:].swapaxes(1, 2))


def test_network_is_the_original_in_float64(released):
    name, params, golden = released
    with jax.enable_x64(True):
        model = sed.build(name, 447, dtype="float64")
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), params)
        mel = parity.synthetic_mel(name).astype(jnp.float64)
        logits, out = jax.jit(model.apply)({"params": params}, mel)
        assert logits.dtype == jnp.float64
        assert_network_close(golden, logits, out, atol=2e-6, block_atol=2e-6)


def test_gradients_are_the_originals():
    params = parity.released_params("frame_mn06", "frame_mn06")
    loss, gradients = parity.golden_gradients("frame_mn06", "frame_mn06", params)
    parity.assert_gradients_close(goldens.load("frame_mn06"), loss, gradients)
    statistics = [key for key in gradients if "running_" in key]
    assert len(statistics) == 92  # 46 layers; none among the original's gradients
    assert not any(np.any(gradients[key]) for key in statistics)


def test_released_keys_there_and_back(released):
    name, params, _ = released
    state_dict = synth.synth_state_dict(goldens.manifest(name), 0)
    back = to_released(name, params)
    lost = set(state_dict) - set(back)
    assert len(lost) == 46 and all(k.endswith("num_batches_tracked") for k in lost)
    for key, array in back.items():
        np.testing.assert_array_equal(array, state_dict[key], err_msg=key)


def test_another_number_of_batches_is_dropped_and_other_counters_are_not():
    state_dict = synth.synth_state_dict(goldens.manifest("frame_mn06"), 0)
    state_dict["model.frame_mn.counter"] = np.zeros((), np.int64)
    with pytest.raises(InputError, match=r"1 unexpected \(model.frame_mn.counter\)"):
        from_released("frame_mn06", state_dict)


@pytest.mark.parametrize(
    ("encoder", "n_parameters", "width"),
    [(frame_mn06, 1_099_184, 576), (frame_mn10, 2_971_664, 960)],
)
def test_sizes_are_the_originals(encoder, n_parameters, width):
    encoder = encoder()
    mel = jnp.zeros((1, 1000, 128))
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), mel)["params"]
    assert list(shapes) == sorted(encoder.layer_names) and encoder.width == width
    sizes = [
        leaf.size
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        if path[-1].key not in ("mean", "var")
    ]
    assert sum(sizes) == n_parameters


@pytest.mark.parametrize(
    ("n_mel_frames", "n_frames"), [(1000, 250), (999, 250), (200, 50), (5, 2), (1, 1)]
)
def test_a_frame_for_every_40_ms(n_mel_frames, n_frames):
    mel = jax.ShapeDtypeStruct((2, n_mel_frames, 128), jnp.float32)
    (frames, out), _ = jax.eval_shape(
        tiny_frame_mn10().init_with_output, jax.random.key(0), mel
    )
    assert frames.shape == (2, n_frames, 96)
    assert out["block_0"].shape == (2, -(-n_mel_frames // 2), 64, 16)
    assert out["block_5"].shape == (2, n_frames, 1, 96)


def test_padding_changes_nothing_for_a_clip():
    lengths.assert_padding_changes_nothing(tiny_frame_mn10(), 128, (41, 7, 2))


def test_padding_changes_no_statistics_of_a_batch():
    encoder = tiny_frame_mn10()
    mel = jax.random.normal(jax.random.key(0), (2, 41, 128))
    params = drawn.params_for(encoder, mel)
    padded = jnp.pad(mel, ((0, 0), (0, 11), (0, 0)), constant_values=50.0)

    @jax.jit
    def updates(mel, n_mel_frames):
        return encoder.apply(params, mel, n_mel_frames, mutable=["updates"])[1]

    alone, with_padding = updates(mel, None), updates(padded, jnp.array([41, 41]))
    assert len(jax.tree.leaves(alone)) == 2 * 13
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        alone,
        with_padding,
    )


def test_longer_than_ten_seconds_says_to_window():
    with pytest.raises(InputError, match=r"10\.01 s long.*windows of at most 10 s"):
        tiny_frame_mn10().init(jax.random.key(0), jnp.zeros((1, 1001, 128)))


def test_every_block_is_a_layer_of_layer_wise_decay():
    names = frame_mn06().layer_names
    rules = optim.layer_rules(names, 0.5)
    assert len(names) == 17
    assert rules[0] == ("^encoder/block_0(/|$)", 0.5**17)
    assert rules[-1] == ("^encoder/block_16(/|$)", 0.5)
