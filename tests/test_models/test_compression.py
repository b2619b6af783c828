import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.compression import METHODS, NONE, Compression, parse
from jaxsed.models.tokens import Grid
from tests import goldens
from tests.test_models import drawn
from tests.test_models.shallow import with_one_block

ENCODERS = ("atst_frame", "beats", "fpasst", "m2d", "asit", "frame_mn10")
# AST on 1024 frames, in patches of 16 x 16 behind CLS and DIST.
AST = Grid(mel_frames=1024, frames_per_step=16, steps=64, rows=8, prefix=2)


def spellings(encoder, factors=(2, 4)):
    """Every compression that an encoder can have."""
    for method in METHODS[1:]:
        if not (encoder == "frame_mn10" and method.startswith("patch")):
            yield from (f"{method}-{factor}" for factor in factors)


@pytest.mark.parametrize("text", ["none", "fshift-2", "patch_bl_aa-4", "max_pool-3"])
def test_what_is_parsed_is_spelt_the_same(text):
    assert str(parse(text)) == text


def test_a_factor_of_one_is_none():
    assert parse("fshift-1") == parse("none") == NONE == Compression()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fshit-4", "compression 'fshit'.*did you mean 'fshift'"),
        ("fshift", "expected none, or a method and a factor such as fshift-2"),
        ("patch_pi-x", "such as patch_pi-2"),
        ("avg_pool--2", "such as avg_pool-2"),
        ("none-2", "expected none"),
        ("fshift-8", "by a factor of 8: expected a whole number from 2 to 4"),
        ("max_pool-0", "by a factor of 0"),
        ("", "unknown compression ''"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(InputError, match=message):
        sed.build("tiny_atst_frame", 3, compression=text)


@pytest.mark.parametrize("method", ["patch_bl", "patch_bl_aa", "patch_pi"])
def test_an_encoder_without_patches_says_what_else_there_is(method):
    message = f"{method}-4 makes.*frame_mn has none.*fshift-4, avg_pool-4, max_pool-4"
    with pytest.raises(InputError, match=message):
        sed.build("tiny_frame_mn06", 3, compression=f"{method}-4")


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_asts_tokens_are_as_many_as_the_originals(factor):
    golden = goldens.load("compression")
    methods = {"fshift": "fshift", "pool": "avg_pool", "patch": "patch_pi"}
    for name, method in methods.items():
        grid = parse(f"{method}-{factor}").of_grid(AST)
        n_tokens = grid.prefix + grid.rows * grid.n_steps(grid.mel_frames)
        found = [grid.rows, grid.steps, n_tokens]
        assert found == golden[f"grid/{name}_C{factor}"].tolist()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fewer_steps_over_the_same_time(encoder):
    plain = sed.build(f"tiny_{encoder}", 5).encoder
    for text in spellings(encoder, factors=(2, 3, 4)):
        model = sed.build(f"tiny_{encoder}", 5, compression=text)
        factor, grid = model.compression.factor, model.encoder.grid
        assert grid.steps == -(-plain.grid.steps // factor)
        np.testing.assert_allclose(
            model.encoder.frame_rate_hz * factor, plain.frame_rate_hz
        )
        assert model.encoder.clip_seconds == 10
        assert model.frontend.n_mel_frames(160_000) == grid.mel_frames
        with pytest.raises(InputError, match="windows of at most 10 s"):
            grid.check(grid.mel_frames + 1)
        # Short clips: a step for every that has begun, up to the last.
        seconds = np.arange(1, 251) * 0.04
        n_mel_frames = model.frontend.n_mel_frames((seconds * 16_000).astype(int))
        n_steps = [grid.n_steps(int(length)) for length in n_mel_frames]
        begun = np.ceil(
            np.round(seconds * 100 / plain.grid.frames_per_step / factor, 9)
        )
        # Frames that lie within the clip are a few fewer than hops.
        assert np.abs(n_steps - np.minimum(begun, grid.steps)).max() <= 1
        assert n_steps[0] == 1 and n_steps[-1] == grid.steps


@pytest.mark.parametrize(
    ("encoder", "text", "n_label_frames"),
    [
        ("atst_frame", "fshift-4", 250),
        ("atst_frame", "patch_bl-2", 41),
        ("beats", "avg_pool-4", 1),
        ("beats", "patch_pi-4", 250),
        ("fpasst", "patch_pi-4", 41),
        ("m2d", "max_pool-2", 250),
        ("asit", "fshift-2", 41),
        ("frame_mn10", "avg_pool-4", 41),
    ],
)
def test_as_many_label_frames(encoder, text, n_label_frames):
    model = sed.build(f"tiny_{encoder}", 5, compression=text)
    wave = jax.ShapeDtypeStruct((2, 640 * n_label_frames), jnp.float32)
    mel = jax.eval_shape(model.frontend, wave)
    (logits, out), _ = jax.eval_shape(model.init_with_output, jax.random.key(0), mel)
    assert logits.shape == (2, n_label_frames, 5)
    n_frames = model.encoder.grid.n_frames(mel.shape[1])
    assert out["frames"].shape == (2, n_frames, model.encoder.width)


@pytest.mark.parametrize(
    ("encoder", "text"),
    [
        ("atst_frame", "fshift-4"),
        ("beats", "avg_pool-4"),
        ("fpasst", "patch_pi-4"),
        ("m2d", "patch_bl-2"),
        ("asit", "max_pool-2"),
        ("frame_mn10", "avg_pool-4"),
    ],
)
def test_a_padded_clip_has_the_logits_that_it_has_alone(encoder, text):
    model = with_one_block(sed.build(f"tiny_{encoder}", 5, compression=text))
    n_samples = np.array([32_000, 10_880])  # 50 and 17 label frames
    long, short = lengths = model.frontend.n_mel_frames(n_samples)
    mel = jax.random.normal(jax.random.key(0), (2, long, model.frontend.n_mels))
    loud = jnp.where(jnp.arange(long)[:, None] < lengths[:, None, None], mel, 50.0)
    params = drawn.params_for(model, mel)
    # Run once: compiling with all optimisations takes far longer.
    score = jax.jit(model.apply, compiler_options={"xla_backend_optimization_level": 0})
    logits, out = score(params, loud, jnp.asarray(lengths))
    alone_logits, alone = score(params, mel[1:, :short])
    assert alone_logits.shape == (1, 17, 5)
    np.testing.assert_allclose(logits[1:, :17], alone_logits, atol=5e-5)
    np.testing.assert_allclose(out["clip_logits"][1:], alone["clip_logits"], atol=5e-5)
