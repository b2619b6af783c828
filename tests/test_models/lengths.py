"""What the tests of clips of different lengths share."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.test_models import drawn


def assert_padding_changes_nothing(encoder, n_mels, lengths, atol=2e-5):
    """Each clip has the frames in a padded batch that it has alone.

    What follows a clip is loud, so that a look at it would show.
    """
    mel = jax.random.normal(jax.random.key(0), (len(lengths), max(lengths), n_mels))
    inside = jnp.arange(max(lengths)) < jnp.array(lengths)[:, None]
    padded = jnp.where(inside[..., None], mel, 50.0)
    params = drawn.params_for(encoder, mel[:1])
    frames, _ = jax.jit(encoder.apply)(params, padded, jnp.array(lengths))
    assert np.isfinite(frames).all()
    for index, length in enumerate(lengths):
        alone, _ = jax.jit(encoder.apply)(params, mel[index : index + 1, :length])
        n_frames = encoder.grid.n_frames(length)
        assert alone.shape == (1, n_frames, encoder.width)
        np.testing.assert_allclose(
            frames[index, :n_frames], alone[0], rtol=0, atol=atol, err_msg=str(length)
        )
