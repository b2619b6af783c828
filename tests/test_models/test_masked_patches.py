import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed import pretext_losses
from jaxsed.errors import InputError
from jaxsed.models import sed
from jaxsed.models.masked_patches import MASKED_PATCHES, patch_values
from jaxsed.weights.mapping import from_released
from tests import goldens, synth, synth_clip
from tests.test_models import shallow

GOLDEN = "ssast_pretrain"


def built(encoder, **options):
    return sed.build(encoder, 1, head=MASKED_PATCHES, **options)


def released(encoder):
    """Synthetic weights, written in the released key layout and mapped to ours."""
    return from_released(
        encoder, synth.synth_state_dict(goldens.manifest(encoder), seed=0)
    )


def predict(encoder, hidden):
    """Of as many clips as there are masks, [b, 2, 400]: predicted and true values."""
    model, params = built(encoder), released(encoder)
    clips = [synth_clip.waveform(10, 16000, seed) for seed in range(len(hidden))]
    mel = model.frontend(jnp.asarray(np.stack(clips)))

    @jax.jit
    def compiled(params, mel, hidden):
        predicted, out = model.apply({"params": params}, mel, hidden)
        return predicted, out["true"]

    return compiled(params, mel, jnp.asarray(hidden, jnp.int32))


def test_predictions_and_losses_are_the_originals():
    """Of patches: 400 hidden in the discriminative pass and 12 in the generative one."""
    golden = goldens.load(GOLDEN)
    many, few = golden["patch/mask_index"], golden["patch/mask12_index"]
    # Copies of the last number hide nothing more.
    few = np.pad(few, ((0, 0), (0, 388)), "edge")
    predicted, true = predict("ssast", np.stack([many, few], axis=1))
    ours = predicted[:, 0, ::29, ::7]
    np.testing.assert_allclose(ours, golden["patch/cpred"], atol=6.9e-6)
    nce, accuracy = pretext_losses.info_nce(predicted[:, 0], true[:, 0])
    mse = pretext_losses.patch_mse(predicted[:, 1, :12], true[:, 1, :12])
    found = {"acc": accuracy, "nce": nce, "mask12_mse": mse}
    for name, value in found.items():
        expected = golden[f"patch/{name}"]
        np.testing.assert_allclose(value.mean(), expected, atol=1.1e-6, err_msg=name)


def test_predictions_of_frames_are_the_originals():
    golden = goldens.load(GOLDEN)
    mask = golden["frame/mask_index"][:1]
    predicted, _ = predict("ssast_frame", np.stack([mask, mask], axis=1))
    for number, name in enumerate(("cpred", "gpred")):
        ours = predicted[:, number, ::29, ::7]
        expected = golden[f"frame/{name}"][:1]
        np.testing.assert_allclose(ours, expected, atol=8.9e-6, err_msg=name)


def test_patches_are_the_originals_unfolded():
    golden = goldens.load(GOLDEN)
    clips = [synth_clip.waveform(10, 16000, seed) for seed in (0, 1)]
    model = built("ssast")
    values = patch_values(
        model.frontend(jnp.asarray(np.stack(clips))), model.encoder.grid
    )
    ours = values[:, ::43, ::17]
    np.testing.assert_allclose(ours, golden["patch/unfold"], atol=2e-4)


@pytest.mark.parametrize(
    "encoder, compression, patches, n_values",
    [
        ("tiny_ssast", "none", (8, 64), 256),
        ("tiny_ssast", "fshift-4", (8, 16), 256),
        ("tiny_ssast", "patch_pi-2", (8, 32), 512),
        ("tiny_ssast_frame", "none", (1, 512), 256),
        ("tiny_ssast_frame", "max_pool-2", (1, 256), 256),
        ("tiny_ssast_frame", "patch_bl-4", (1, 128), 1024),
        ("tiny_ast_s16", "none", (8, 64), 256),
    ],
)
def test_patches_at_every_compression(encoder, compression, patches, n_values):
    model = built(encoder, compression=compression)
    assert model.patches == patches
    wave = jnp.zeros((1, 160000))
    shapes = jax.eval_shape(
        lambda: model.init_with_output(
            jax.random.key(0), model.frontend(wave), jnp.zeros((1, 2, 7), jnp.int32)
        )
    )
    (predicted, out), variables = shapes
    assert predicted.shape == out["true"].shape == (1, 2, 7, n_values)
    assert variables["params"].keys() == {
        "encoder",
        "mask_token",
        "discriminative_head",
        "generative_head",
    }


def test_what_is_hidden_is_not_seen():
    model = shallow.with_one_block(built("tiny_ssast", compression="fshift-4"))
    mel = jax.random.normal(jax.random.key(1), (1, 250, 128))
    hidden = jnp.array([[[3, 20], [5, 6]]])
    params = jax.jit(model.init)(jax.random.key(0), mel)
    # Patch 20 is row 1, column 4: bins 16 to 31, frames 64 to 79.
    other = mel.at[:, 64:80, 16:32].set(0)
    predict = jax.jit(lambda mel: model.apply(params, mel, hidden))
    (before, true), (after, changed) = predict(mel), predict(other)
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    assert np.abs(before[:, 1] - after[:, 1]).max() > 1e-6
    np.testing.assert_array_equal(changed["true"][0, 0, 1], 0)
    patch = mel[0, 64:80, 16:32].T.ravel()
    np.testing.assert_array_equal(true["true"][0, 0, 1], patch)


@pytest.mark.parametrize("encoder", ["tiny_ast", "tiny_asit", "ssast_s10"])
def test_encoders_whose_patches_overlap_or_that_have_none_are_refused(encoder):
    with pytest.raises(InputError, match=f"overlap, which the encoder '{encoder}'"):
        built(encoder)


def test_a_sequence_model_is_refused():
    with pytest.raises(InputError, match="sequence=bigru"):
        built("tiny_ssast", sequence="bigru")
