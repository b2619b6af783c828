import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.errors import InputError
from jaxsed.models.spectrogram_image import Folding, ImagePatches
from tests.test_models import drawn, numpy_htsat

FOLDING = Folding(chunks=3, chunk_frames=8)


def mel(n_frames, n_mels=2):
    return np.random.default_rng(0).normal(size=(2, n_frames, n_mels)).astype("f4")


@pytest.mark.parametrize("n_frames", [1, 2, 7, 23])
def test_short_clips_are_stretched_by_cubics_and_cut_into_chunks(n_frames):
    chunks = jax.jit(FOLDING.fold)(mel(n_frames))
    for clip, ours in zip(np.float64(mel(n_frames)), chunks):
        expected = numpy_htsat.bicubic(clip, 24).reshape(3, 8, 2)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
    # The ends stay where they are.
    np.testing.assert_array_equal(chunks[:, 0, 0], mel(n_frames)[:, 0])
    np.testing.assert_allclose(chunks[:, -1, -1], mel(n_frames)[:, -1], atol=1e-6)


def test_a_whole_image_is_taken_as_it_is():
    whole = mel(24)
    np.testing.assert_array_equal(FOLDING.fold(whole).reshape(whole.shape), whole)
    np.testing.assert_array_equal(FOLDING.stretched(whole), whole)
    np.testing.assert_array_equal(FOLDING.repeated(whole), whole)


def test_short_clips_are_repeated_as_often_as_they_fit():
    repeated = jax.jit(FOLDING.repeated)(mel(7))
    expected = FOLDING.stretched(np.tile(mel(7), (1, 3, 1)))
    np.testing.assert_allclose(repeated, expected, atol=1e-6)


def test_crops_are_half_as_long_and_the_last_one_is_missing():
    long = mel(41)
    crops = FOLDING.overlapping_crops(long)
    assert len(crops) == 2  # from 0 and 10; the original misses 20 by one frame
    for start, crop in zip((0, 10), crops):
        expected = FOLDING.stretched(long[:, start : start + 20])
        np.testing.assert_array_equal(crop, expected)
    with pytest.raises(InputError, match=r"has 49 frames.*has 24: cut longer"):
        FOLDING.overlapping_crops(mel(99))


@pytest.mark.parametrize("method", ["fold", "stretched", "repeated"])
@pytest.mark.parametrize("n_frames", [0, 25])
def test_what_fits_no_image_is_named(method, n_frames):
    with pytest.raises(InputError, match=f"has {n_frames} frames"):
        getattr(FOLDING, method)(mel(n_frames))


@pytest.mark.parametrize("patch_frames", [4, 8])
def test_patches_are_dense_layers_over_parts_of_the_image(patch_frames):
    chunks = mel(24, 12).reshape(2, 3, 8, 12)
    module = ImagePatches(5, patch_frames, "float32")
    params = drawn.params_for(module, jnp.asarray(chunks))
    tokens = jax.jit(module.apply)(params, chunks)
    assert tokens.shape == (2, 9, 8 // patch_frames, 5)
    for clip, ours in zip(np.float64(chunks), tokens):
        image = np.concatenate([chunk.T for chunk in clip])
        expected = numpy_htsat.patches_of(image, params["params"], patch_frames)
        np.testing.assert_allclose(ours, expected, atol=1e-5)
