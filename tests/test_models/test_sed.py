import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.frontends.presets import PRESETS
from jaxsed.models import sed
from tests.test_models import drawn

TINY = tuple(name for name in sed.ENCODERS if name.startswith("tiny_"))
# Those that are tiny_ast_s16 on other grids are only traced.
ALIKE = ("tiny_ast", "tiny_ssast", "tiny_ssast_frame")
RUN = tuple(name for name in TINY if name not in ALIKE)


def random_wave(n_samples, level=0.1, seed=0):
    return level * jax.random.normal(jax.random.key(seed), (1, n_samples))


@pytest.fixture(scope="module", params=RUN)
def tiny(request):
    """A tiny model with a BiGRU, its parameters, and its jitted audio-to-scores."""
    model = sed.build(request.param, 7, sequence="bigru", sequence_width=8)
    mel = jnp.zeros((1, 101, model.frontend.n_mels))
    params = drawn.params_for(model, mel)
    score = jax.jit(lambda wave: model.apply(params, model.frontend(wave)))
    return model, params, score


def test_contract_for_ten_seconds(tiny):
    model, params, score = tiny
    logits, out = score(random_wave(10 * model.frontend.sample_rate))
    assert logits.shape == (1, 250, 7) and logits.dtype == jnp.float32
    assert out["clip_logits"].shape == (1, 7)
    width, grid = model.encoder.width, model.encoder.grid
    assert out["frames"].shape == (1, grid.n_frames(grid.mel_frames), width)
    assert out["aligned"].shape == (1, 250, width)
    assert out["sequence"].shape == (1, 250, 16)
    keys = {"encoder", "sequence", "strong_head", "weak_head"}
    assert set(params["params"]) == keys
    assert set(params["params"]["encoder"]) == set(model.encoder.layer_names)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


def test_a_clip_does_not_depend_on_its_mates(tiny):
    _, _, score = tiny
    quiet, loud = random_wave(48_000, 0.001), random_wave(48_000, 1.0, seed=1)
    logits, out = score(jnp.concatenate([quiet, loud]))
    alone_logits, alone = score(quiet)
    np.testing.assert_allclose(logits[:1], alone_logits, atol=2e-5)
    np.testing.assert_allclose(out["frames"][:1], alone["frames"], atol=5e-5)
    np.testing.assert_allclose(out["clip_logits"][:1], alone["clip_logits"], atol=2e-5)


def test_a_padded_clip_has_the_logits_that_it_has_alone(tiny):
    model, params, _ = tiny
    mel = jax.random.normal(jax.random.key(0), (2, 201, model.frontend.n_mels))
    score = jax.jit(model.apply)
    logits, out = score(params, mel, jnp.array([201, 57]))
    alone_logits, alone = score(params, mel[1:, :57])
    n_label_frames = alone_logits.shape[1]
    np.testing.assert_allclose(logits[1:, :n_label_frames], alone_logits, atol=2e-5)
    np.testing.assert_allclose(out["clip_logits"][1:], alone["clip_logits"], atol=2e-5)


@pytest.mark.parametrize("n_samples", [100, 4800, 48_000, 100_000])
@pytest.mark.parametrize("encoder", TINY)
def test_any_length_gives_a_label_frame_for_every_40_ms(encoder, n_samples):
    model = sed.build(encoder, 3)
    wave = jax.ShapeDtypeStruct(
        (2, n_samples * model.frontend.sample_rate // 16_000), jnp.float32
    )
    (logits, _), _ = jax.eval_shape(
        lambda x: model.init_with_output(jax.random.key(0), model.frontend(x)), wave
    )
    assert logits.shape == (2, int(np.ceil(25 * n_samples / 16_000)), 3)


def test_silence_and_gradients_are_finite(tiny):
    model, params, score = tiny
    silence = jnp.zeros((1, 32_000))
    assert np.isfinite(score(silence)[0]).all()

    def loss(params):
        logits, out = model.apply(params, model.frontend(silence))
        return logits.mean() + out["clip_logits"].mean()

    gradients = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("encoder", RUN)
def test_bfloat16_is_near_float32_with_the_same_parameters(encoder):
    full, half = (sed.build(encoder, 5, dtype=t) for t in ("float32", "bfloat16"))
    mel = full.frontend(random_wave(32_000))
    params = drawn.params_for(full, mel)
    logits, _ = jax.jit(full.apply)(params, mel)
    rough_logits, rough = jax.jit(half.apply)(params, mel)
    assert rough_logits.dtype == rough["clip_logits"].dtype == jnp.float32
    assert rough["frames"].dtype == jnp.bfloat16
    assert np.abs(rough_logits - logits).max() < 0.1 * np.abs(logits).max()
    assert np.abs(rough_logits - logits).max() > 0
    shapes = jax.tree.map(jnp.shape, params)
    inits = jax.eval_shape(half.init, jax.random.key(0), mel)
    assert shapes == jax.tree.map(jnp.shape, inits)


def test_without_sequence_model_the_heads_see_the_aligned_frames():
    model = sed.build("tiny_atst_frame", 3)
    mel = jax.random.normal(jax.random.key(0), (1, 101, 64))
    variables = drawn.params_for(model, mel)
    assert "sequence" not in variables["params"]
    _, out = jax.jit(model.apply)(variables, mel)
    np.testing.assert_array_equal(out["sequence"], out["aligned"])
    head = variables["params"]["weak_head"]
    expected = out["aligned"].mean(axis=1) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(out["clip_logits"], expected, atol=1e-5)


@pytest.mark.parametrize("encoder", sed.ENCODERS)
def test_every_encoder_keeps_the_contract(encoder):
    model = sed.build(encoder, 11)
    wave = jax.ShapeDtypeStruct((1, 10 * model.frontend.sample_rate), jnp.float32)
    mel = jax.eval_shape(model.frontend, wave)
    assert mel.shape[-1] == model.frontend.n_mels
    (logits, out), variables = jax.eval_shape(
        model.init_with_output, jax.random.key(0), mel
    )
    assert logits.shape == (1, 250, 11)
    assert out["frames"].shape[-1] == model.encoder.width
    assert model.encoder.clip_seconds == 10
    # Encoders differ in what of a last step they see.
    step = model.encoder.grid.n_frames(1)
    assert abs(out["frames"].shape[1] - 10 * model.encoder.frame_rate_hz) <= step
    assert list(variables["params"]["encoder"]) == sorted(model.encoder.layer_names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "atst_fram"}, "did you mean 'atst_frame'"),
        ({"encoder": "tiny_passt"}, "did you mean 'tiny_fpasst'"),
        ({"sequence": "gru"}, "sequence model 'gru': did you mean 'bigru'"),
        ({"dtype": "float16"}, "did you mean 'bfloat16'"),
        ({"n_classes": 0}, "n_classes is 0"),
        ({"head": "tokens"}, "'tokens' needs the summary.*one of linear, attention"),
        ({"frontend": "ast"}, "'ast' does not fit .*'tiny_atst_frame'; expected atst_"),
        ({"sequence": "bigru", "sequence_width": -1}, "sequence_width is -1"),
        (
            {"sequence": "bigru", "sequence_width": 8.5},
            "sequence_width is 8.5; .* whole",
        ),
    ],
)
def test_wrong_options_name_the_nearest(options, message):
    with pytest.raises(InputError, match=message):
        sed.build(**{"encoder": "tiny_atst_frame", "n_classes": 3, **options})


def test_the_wrong_front_end_is_named():
    model = sed.build("tiny_atst_frame", 3)
    with pytest.raises(InputError, match=r"\(1, 1000, 128\).*front-end atst_frame"):
        model.init(jax.random.key(0), jnp.zeros((1, 1000, 128)))


@pytest.mark.parametrize("name", ["tiny_atst_frame", "tiny_beats"])
def test_dropped_blocks_leave_the_others_as_they_are(name):
    whole = sed.build(name, 3).encoder
    dropped = sed.build(name, 3, drop_layers=2).encoder
    names = [n for n in whole.layer_names if n not in ("block_1", "block_2")]
    assert list(dropped.layer_names) == names
    mel = np.ones((1, 20, PRESETS[whole.frontend].n_mels), np.float32)
    params = drawn.params_for(whole, mel)["params"]
    kept = {name: params[name] for name in names}
    _, expected = jax.jit(whole.apply)({"params": params}, mel)
    _, found = jax.jit(dropped.apply)({"params": kept}, mel)
    np.testing.assert_allclose(found["block_0"], expected["block_0"], atol=1e-5)
    assert not {"block_1", "block_2"} & set(found)


@pytest.mark.parametrize(
    ("name", "dropped", "message"),
    [
        ("tiny_frame_mn06", 1, "'tiny_frame_mn06': its layers are no stack of equal"),
        ("tiny_htsat", 1, "its layers are no stack of equal blocks"),
        ("tiny_beats", 3, "drop_layers=3 .* has 3 blocks, of which one has to stay"),
        ("tiny_m2d", -1, "drop_layers=-1 does not fit"),
    ],
)
def test_blocks_that_cannot_be_dropped_are_refused(name, dropped, message):
    with pytest.raises(InputError, match=message):
        sed.build(name, 3, drop_layers=dropped)
