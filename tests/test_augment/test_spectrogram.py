import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.augment import spectrogram

KEY = jax.random.key(8)
warp_frequency = jax.jit(spectrogram.warp_frequency)


def run(function, batch, **settings):
    """Compiled as a whole: op by op takes several times as long."""
    return jax.jit(functools.partial(function, **settings))(KEY, batch)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "ops.npz") as file:
        names = [n for n in file.files if n.startswith(("filtaug", "freqwarp"))]
        return {name: file[name] for name in names}


def released_filter(golden):
    """The golden's filter in dB, [b, 128], from the numbers the original drew."""
    n_bins, n_bands, n_clips = 128, 4, 2
    drawn = golden["filtaug_boundary_draws"]
    # A fourth, unused draw: arrays are as long as five bands need.
    offsets = jnp.asarray(np.tile([*drawn, 17], (n_clips, 1)), jnp.int32)
    counts = jnp.full(n_clips, n_bands)
    edges = spectrogram.band_edges(offsets, counts, n_bins, jnp.full(n_clips, 6))
    gains = golden["filtaug_uniform"] * 12 - 6
    unused = np.full((n_clips, 1), 99.0, np.float32)
    gains = jnp.asarray(np.concatenate([gains, unused], axis=1))
    return edges, spectrogram.filter_gains(edges, gains, n_bins)


def test_filter_matches_the_original(golden):
    edges, gains_db = released_filter(golden)
    assert edges[0].tolist() == [0, 9, 53, 78, 128, 128]
    curve = jnp.power(10.0, gains_db / 20)
    np.testing.assert_allclose(curve, golden["filtaug_curve"], rtol=0, atol=1e-6)
    mel = jnp.asarray(golden["filtaug_in"][:, 0].transpose(0, 2, 1))
    filtered = spectrogram.apply_filter(mel, gains_db)
    expected = golden["filtaug_out"][:, 0].transpose(0, 2, 1)
    np.testing.assert_allclose(filtered, expected, rtol=0, atol=1e-6)


def test_added_gain_is_the_gain_in_decibels():
    # ATST-F's normalisation: (dB + 79.6482) / 130.3324 * 2 - 1.
    def normalise(power_db):
        return (power_db + 79.6482) / 130.3324 * 2 - 1

    power_db = jnp.linspace(-60, 20, 12).reshape(1, 3, 4)
    gains_db = jnp.array([[-6.0, 0.0, 3.0, 6.0]])
    filtered = spectrogram.apply_filter(
        normalise(power_db), gains_db, units_per_db=2 / 130.3324
    )
    expected = normalise(power_db + gains_db[:, None])
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


@pytest.mark.parametrize("n_bins", [16, 64, 128])
def test_bands_are_as_many_and_as_wide_as_asked(n_bins):
    n_clips = 300
    rng = np.random.default_rng(n_bins)
    n_bands = jnp.asarray(rng.integers(3, 6, n_clips))
    min_width = jnp.minimum(6, n_bins // n_bands)
    offsets = rng.integers(0, n_bins - np.asarray(n_bands * min_width)[:, None] + 1)
    offsets = np.broadcast_to(offsets, (n_clips, 1)).repeat(4, axis=1)
    edges = spectrogram.band_edges(jnp.asarray(offsets), n_bands, n_bins, min_width)
    widths = np.diff(np.asarray(edges), axis=1)
    assert np.array_equal((widths > 0).sum(axis=1), n_bands)
    narrowest = np.where(widths > 0, widths, n_bins).min(axis=1)
    assert (narrowest >= np.asarray(min_width)).all()
    assert (widths.sum(axis=1) == n_bins).all()


def test_random_filters_stay_in_range_and_differ_between_clips():
    batch = {"mel": jnp.ones((200, 3, 64))}
    filtered = jax.jit(
        lambda k: spectrogram.random_filter(k, batch, probability=0.5)["mel"]
    )(KEY)
    gains_db = 20 * np.log10(np.asarray(filtered[:, 0]))
    assert np.abs(gains_db).max() <= 6.001 and np.abs(gains_db).max() > 5
    untouched = (gains_db == 0).all(axis=1)
    assert 0.35 < untouched.mean() < 0.65
    assert np.array_equal(filtered[:, 0], filtered[:, 2])
    # Kinks of the piecewise lines: 3 to 5 bands repeat a bin 2 to 4 times.
    repeats = (np.abs(np.diff(gains_db[~untouched], axis=1)) < 1e-6).sum(axis=1)
    assert set(repeats) == {2, 3, 4}


def test_filter_per_batch_shares_edges_but_not_gains():
    batch = {"mel": jnp.ones((6, 2, 64))}
    filtered = run(spectrogram.random_filter, batch, probability=1.0, per_batch=True)
    gains_db = 20 * np.log10(np.asarray(filtered["mel"][:, 0]))
    repeats = np.abs(np.diff(gains_db, axis=1)) < 1e-6
    assert (repeats == repeats[0]).all() and repeats[0].any()
    assert len({round(float(gain), 3) for gain in gains_db[:, 0]}) == 6


@pytest.mark.parametrize(("height", "offset"), [(77, 0), (100, 20), (128, 0)])
def test_warp_matches_the_original(golden, height, offset):
    mel = jnp.asarray(golden["freqwarp_in"].transpose(0, 2, 1))
    warped = warp_frequency(mel, jnp.array([height] * 2), jnp.array([offset] * 2))
    expected = golden[f"freqwarp_h{height}_i{offset}_out"].transpose(0, 2, 1)
    np.testing.assert_allclose(warped, expected, rtol=0, atol=5e-5)


def test_crop_matches_the_originals_draws(golden):
    params = json.loads(str(golden["freqwarp_params"]))
    offset, _, height, _ = params["i_j_h_w"]
    assert spectrogram.crop_height(jnp.array(params["u"]), 128, 0.6) == height
    # The original's inclusive bounds of the offset, of which it drew the last.
    assert params["draws"][2] == [0.0, 128 - height] and offset == 128 - height


def test_each_clip_has_its_own_crop():
    mel = jnp.asarray(np.random.default_rng(1).standard_normal((2, 5, 32)), jnp.float32)
    height, offset = jnp.array([20, 32]), jnp.array([7, 0])
    both = warp_frequency(mel, height, offset)
    alone = warp_frequency(mel[:1], height[:1], offset[:1])
    np.testing.assert_allclose(both[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(both[1], mel[1], atol=1e-6)
    # First and last bin of the crop land on first and last bin of the result.
    np.testing.assert_allclose(both[0, :, 0], mel[0, :, 7], atol=1e-6)
    np.testing.assert_allclose(both[0, :, -1], mel[0, :, 26], atol=1e-5)


def test_a_constant_stays_constant():
    matrix = spectrogram.warp_matrix(jnp.array([1, 9, 16]), jnp.array([15, 3, 0]), 16)
    np.testing.assert_allclose(matrix.sum(axis=2), 1.0, atol=1e-6)


def test_random_crops_have_the_released_range():
    # A ramp shows its crop: the first bin is the offset, the slope gives the height.
    n_bins = 64
    ramp = jnp.broadcast_to(jnp.arange(n_bins, dtype=jnp.float32), (400, 2, n_bins))
    warped = run(spectrogram.random_warp, {"mel": ramp}, probability=1.0)["mel"]
    first = np.rint(np.asarray(warped[:, 0, 0])).astype(int)
    last = np.rint(np.asarray(warped[:, 0, -1])).astype(int)
    heights = last - first + 1
    assert heights.min() >= int(0.6 * n_bins) and heights.max() <= n_bins - 1
    assert first.min() == 0 and last.max() == n_bins - 1
    assert len(set(heights.tolist())) > 15
    assert (first > 0).any() and (last < n_bins - 1).any()


def test_warp_per_batch_is_one_crop():
    mel = jnp.broadcast_to(jnp.arange(32.0), (6, 2, 32))
    warped = run(
        spectrogram.random_warp, {"mel": mel}, probability=1.0, per_batch=True
    )["mel"]
    assert (np.asarray(warped) == np.asarray(warped[0])).all()
    assert not np.array_equal(warped, mel)


def test_gradients_are_finite():
    mel = jnp.asarray(np.random.default_rng(2).standard_normal((3, 4, 16)), jnp.float32)

    def total(mel):
        batch = run(spectrogram.random_filter, {"mel": mel}, probability=1.0)
        return (run(spectrogram.random_warp, batch, probability=1.0)["mel"] ** 2).sum()

    gradient = jax.jit(jax.grad(total))(mel)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
