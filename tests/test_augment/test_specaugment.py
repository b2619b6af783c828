import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.augment import specaugment

KEY = jax.random.key(13)
FILL = -7.0
N, T, F = 400, 64, 16  # 400 clips


def run(mel=None, **settings):
    batch = {"mel": jnp.zeros((N, T, F)) if mel is None else mel}
    settings = {"probability": 1.0, "fill": FILL, **settings}
    masked = jax.jit(functools.partial(specaugment.random_masks, **settings))(
        KEY, batch
    )
    return np.asarray(masked["mel"])


def hidden_runs(hidden):
    """Numbers of positions that are hidden, and of stripes that these make up."""
    edges = np.diff(np.pad(hidden.astype(int), ((0, 0), (1, 0))), axis=1) > 0
    return hidden.sum(axis=1), edges.sum(axis=1)


def test_masks_of_time_are_asts():
    """`TimeMasking(12)` of 64 frames: widths from 0 to 11, anywhere."""
    mel = run(time_part=12 / T, frequency_masks=0)
    hidden = (mel == FILL).all(axis=2)
    assert np.array_equal(hidden, (mel == FILL).any(axis=2))
    width, stripes = hidden_runs(hidden)
    assert set(width) == set(range(12)) and stripes.max() == 1
    counts = np.bincount(width, minlength=12)
    assert (np.abs(counts - N / 12) < 5 * np.sqrt(N / 12)).all()
    # A start is drawn below `64 - width`, so that the last frame is always seen.
    assert hidden[:, 0].any() and hidden[:, -2].any() and not hidden[:, -1].any()


def test_masks_of_frequency_are_counted_in_bins():
    mel = run(time_masks=0, frequency_bins=5)
    hidden = (mel == FILL).all(axis=1)
    width, stripes = hidden_runs(hidden)
    assert set(width) == set(range(5)) and stripes.max() == 1


def test_two_masks_each_are_htsats():
    mel = run(time_masks=2, frequency_masks=2, time_part=8 / T, frequency_bins=4)
    width, stripes = hidden_runs((mel == FILL).all(axis=2))
    assert stripes.max() == 2 and 8 < width.max() <= 14
    width, stripes = hidden_runs((mel == FILL).all(axis=1))
    assert stripes.max() == 2 and 4 < width.max() <= 6
    # What no stripe hides is left alone.
    hidden = mel == FILL
    either = hidden.all(axis=2)[:, :, None] | hidden.all(axis=1)[:, None, :]
    assert np.array_equal(hidden, either) and (mel[~hidden] == 0).all()


@pytest.mark.parametrize("factor", [1, 4])
def test_a_mask_hides_the_same_part_of_a_coarser_spectrogram(factor):
    mel = run(jnp.zeros((N, T // factor, F)), time_part=0.5, frequency_masks=0)
    width = (mel == FILL).all(axis=2).sum(axis=1) * factor
    assert abs(width.mean() - T / 4) < 3 and width.max() <= T / 2 - factor


def test_the_mean_is_that_of_each_bin_over_the_batch():
    mel = jnp.broadcast_to(jnp.arange(F, dtype=jnp.float32), (N, T, F))
    mel = mel + jax.random.normal(KEY, mel.shape)
    masked = run(mel, time_part=0.5, frequency_masks=0, fill_with_mean=True)
    changed = (masked != np.asarray(mel)).all(axis=2)
    assert changed.any()
    expected = np.broadcast_to(np.asarray(mel).mean(axis=(0, 1)), masked.shape)
    np.testing.assert_allclose(masked[changed], expected[changed], rtol=1e-5)


def test_the_coin_and_per_batch_decide():
    half = (run(probability=0.5) == FILL).any(axis=(1, 2))
    always = (run(probability=1.0) == FILL).any(axis=(1, 2))
    assert 0.4 < half.mean() / always.mean() < 0.6
    alike = run(per_batch=True)
    assert (alike == alike[0]).all()
