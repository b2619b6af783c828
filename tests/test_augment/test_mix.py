import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsed.augment import mix
from jaxsed.errors import InputError

KEY = jax.random.key(11)


def run(function, batch, **settings):
    """Compiled as a whole: op by op takes several times as long."""
    return jax.jit(functools.partial(function, **settings))(KEY, batch)


@pytest.fixture(scope="module")
def golden():
    with np.load(Path(__file__).parents[1] / "golden" / "ops.npz") as file:
        names = [n for n in file.files if n.startswith(("mixup", "mixstyle", "wavmix"))]
        return {name: file[name] for name in names}


def permuted(order):
    return lambda rows: rows[jnp.asarray(order)]


def folded(weight):
    weight = np.asarray(weight, np.float32).reshape(-1)
    return jnp.asarray(np.maximum(weight, 1 - weight))


def time_major(mel):
    """Goldens are [b, 1, frequency, time]."""
    return jnp.asarray(mel[:, 0].transpose(0, 2, 1))


def random_batch(n_clips=6, n_frames=40, n_bins=8):
    rng = np.random.default_rng(0)
    shape = (n_clips, n_frames // 4, 3)
    return {
        "mel": jnp.asarray(
            rng.standard_normal((n_clips, n_frames, n_bins)), jnp.float32
        ),
        "labels": jnp.asarray(rng.integers(0, 2, shape), jnp.float32),
        "clip_labels": jnp.asarray(rng.integers(0, 2, (n_clips, 3)), jnp.float32),
        "teacher": jnp.asarray(rng.random(shape), jnp.float32),
        "index": jnp.arange(n_clips),
    }


def test_mixup_matches_the_original(golden):
    weight = folded(golden["mixup_c_raw"])
    partner = permuted(golden["mixup_perm"])
    mel = time_major(golden["mixup_in_mel"])
    batch = {
        "labels": jnp.asarray(golden["mixup_in_labels"]),
        "teacher": jnp.asarray(golden["mixup_in_pseudo"]),
    }
    mixed = mix.blend(mel, partner(mel), weight)
    targets = mix.blend_targets(batch, weight, partner)
    np.testing.assert_allclose(mixed, time_major(golden["mixup_out_mel"]), atol=1e-6)
    np.testing.assert_allclose(
        targets["labels"], golden["mixup_out_labels"], rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        targets["teacher"], golden["mixup_out_pseudo"], rtol=0, atol=1e-6
    )


def test_mixup_of_sounds_alone_is_htsats():
    """The reversed batch as partner; what the label says stays."""
    with np.load(Path(__file__).parents[1] / "golden" / "recipe.npz") as recipe:
        image, weight = recipe["mixup/htsat_in"], recipe["mixup/htsat_lambda"]
        expected = recipe["mixup/htsat_out"]
    rows, weight = jnp.asarray(image, jnp.float32), jnp.asarray(weight, jnp.float32)
    mixed = mix.blend(rows, rows[::-1], weight)
    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    batch = random_batch(64)
    settings = {"name": "mel", "probability": 1.0, "alpha": 0.5}
    mixed = run(mix.random_mixup, batch, major=False, targets=False, **settings)
    for name in ("labels", "clip_labels", "teacher"):
        assert np.array_equal(mixed[name], batch[name])
    # The share that is an example's own: projected on what the partner has not.
    own, partner = np.asarray(batch["mel"]), np.roll(batch["mel"], -1, axis=0)
    away = (own - partner).reshape(64, -1)
    share = ((np.asarray(mixed["mel"]) - partner).reshape(64, -1) * away).sum(1)
    share /= (away * away).sum(1)
    assert (share < 0.4).sum() > 10 and (share > 0.6).sum() > 10


def test_wave_mixup_matches_the_original(golden):
    # The golden mixed clip 0 with clip 1; its labels show the weight, 0.7.
    audio = jnp.stack([golden["wavmix_audio0"], golden["wavmix_audio1"]])
    batch = {
        "labels": jnp.stack([golden["wavmix_labels0"], golden["wavmix_labels1"]]),
        "teacher": jnp.stack([golden["wavmix_pseudo0"], golden["wavmix_pseudo1"]]),
    }
    weight = jnp.array([0.7, 1.0], jnp.float32)
    partner = permuted([1, 0])
    mixed = mix.blend_waves(audio, partner(audio), weight)
    targets = mix.blend_targets(batch, weight, partner)
    np.testing.assert_allclose(mixed[0], golden["wavmix_out_audio"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        targets["labels"][0], golden["wavmix_out_labels"], rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(
        targets["teacher"][0], golden["wavmix_out_pseudo"], rtol=0, atol=1e-6
    )
    # Only blended clips lose their offset.
    assert np.array_equal(mixed[1], audio[1])


def test_mixstyle_matches_the_original(golden):
    styled = mix.mixstyle(
        time_major(golden["mixstyle_in"]),
        folded(golden["mixstyle_lambda_raw"]),
        permuted(golden["mixstyle_perm"]),
    )
    expected = time_major(golden["mixstyle_out_f64"].astype(np.float32))
    np.testing.assert_allclose(styled, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        styled, time_major(golden["mixstyle_out"]), rtol=0, atol=1e-6
    )


def test_mixstyle_of_silence_is_finite():
    mel = jnp.full((3, 20, 4), -1.0)
    styled = mix.mixstyle(mel, jnp.array([0.6, 0.7, 1.0]), permuted([1, 2, 0]))
    np.testing.assert_allclose(styled, mel, atol=1e-6)
    one_frame = mix.mixstyle(mel[:, :1], jnp.full(3, 0.6), permuted([1, 2, 0]))
    assert np.isfinite(one_frame).all()


def test_mixstyle_stops_gradients_at_the_statistics():
    # With statistics held constant the gradient of the sum is new_dev / dev everywhere.
    mel = random_batch()["mel"]
    partner = permuted([1, 2, 3, 4, 5, 0])
    weight = jnp.full(6, 0.7)
    gradient = jax.jit(jax.grad(lambda x: mix.mixstyle(x, weight, partner).sum()))(mel)
    deviation = np.sqrt(np.var(mel, axis=1, keepdims=True, ddof=1) + 1e-6)
    expected = 0.7 + 0.3 * np.asarray(partner(deviation)) / deviation
    np.testing.assert_allclose(
        gradient, np.broadcast_to(expected, mel.shape), rtol=1e-4
    )


def test_sound_labels_and_teacher_are_blended_with_one_weight_and_one_partner():
    """Each clip carries its own class: the labels tell who was blended, and how much."""
    n_clips = 6
    own = jnp.eye(n_clips)
    batch = {
        "mel": jnp.broadcast_to(own[:, None], (n_clips, 8, n_clips)),
        "labels": jnp.broadcast_to(own[:, None], (n_clips, 2, n_clips)),
        "clip_labels": own,
        "teacher": 0.5 * jnp.broadcast_to(own[:, None], (n_clips, 2, n_clips)),
        "clip_teacher": 0.25 * own,
    }
    for kind in mix.PARTNERS:
        mixed = run(
            mix.random_mixup,
            batch,
            name="mel",
            probability=1.0,
            alpha=2.0,
            partner=kind,
        )
        np.testing.assert_array_equal(mixed["mel"][:, 0], mixed["clip_labels"])
        np.testing.assert_array_equal(mixed["labels"][:, 1], mixed["clip_labels"])
        np.testing.assert_allclose(2 * mixed["teacher"][:, 1], mixed["clip_labels"])
        np.testing.assert_allclose(4 * mixed["clip_teacher"], mixed["clip_labels"])
        assert (np.diag(mixed["clip_labels"]) >= 0.5).all()
        assert (np.diag(mixed["clip_labels"]) < 1).any()


def test_neighbours_differ_by_distance_and_are_never_oneself():
    rows = jnp.arange(5)
    for distance in range(1, 5):
        partner = mix.choose_partner("neighbour", KEY, 5, distance)
        assert np.array_equal(partner(rows), (np.arange(5) + distance) % 5)
    for n_examples in (2, 3):
        for distance in (1, 2, 3):
            partner = mix.choose_partner("neighbour", KEY, n_examples, distance)
            assert (partner(jnp.arange(n_examples)) != jnp.arange(n_examples)).all()


def test_a_batch_of_one_stays_what_it_is():
    batch = {name: array[:1] for name, array in random_batch().items()}
    mixed = run(mix.random_mixup, batch, name="mel", probability=1.0, alpha=2.0)
    mixed = run(mix.random_mixstyle, mixed, probability=1.0)
    for name in batch:
        np.testing.assert_allclose(mixed[name], batch[name], atol=1e-6)


def test_permutation_pairs_everyone_once():
    partner = mix.choose_partner("permutation", KEY, 8)
    assert sorted(np.asarray(partner(jnp.arange(8)))) == list(range(8))


def test_unknown_partner_is_named():
    with pytest.raises(InputError, match="'best_friend'"):
        mix.choose_partner("best_friend", KEY, 4)


def test_where_the_coin_says_no_an_example_is_bit_identical():
    batch = random_batch(64)
    batch["audio"] = batch["mel"].reshape(64, -1)
    for name in ("mel", "audio"):
        mixed = run(mix.random_mixup, batch, name=name, probability=0.5, alpha=2.0)
        same = np.all(np.asarray(mixed[name] == batch[name]).reshape(64, -1), axis=1)
        labels_same = np.all(
            np.asarray(mixed["labels"] == batch["labels"]), axis=(1, 2)
        )
        assert 0.25 < same.mean() < 0.75
        # Two clips may be labelled alike; where the sound is untouched labels are.
        assert labels_same[same].all() and not labels_same.all()


def test_per_batch_mixes_everyone_or_no_one():
    batch = random_batch(8)
    settings = {"name": "mel", "probability": 0.5, "alpha": 2.0, "per_batch": True}
    mixup = jax.jit(functools.partial(mix.random_mixup, **settings))
    seen = set()
    for key in jax.random.split(KEY, 12):
        mixed = mixup(key, batch)
        changed = np.any(np.asarray(mixed["mel"] != batch["mel"]), axis=(1, 2))
        assert len(set(changed.tolist())) == 1
        seen.add(bool(changed[0]))
    assert seen == {True, False}


@pytest.mark.parametrize("name", ["teacher_valid", "times_known"])
def test_a_blend_with_a_clip_without_teacher_or_times_has_none(name):
    batch = {
        "teacher": jnp.ones((4, 2, 3)),
        name: jnp.array([True, True, False, True]),
    }
    weight = jnp.array([0.7, 0.7, 0.7, 1.0])
    partner = mix.choose_partner("neighbour", KEY, 4)
    valid = mix.blend_targets(batch, weight, partner)[name]
    assert valid.tolist() == [True, False, False, True]


def test_a_broken_partner_does_not_touch_examples_that_stay_alone():
    rows = jnp.array([[1.0], [jnp.nan]])
    blended = mix.blend(rows, rows[::-1], jnp.array([1.0, 0.6]))
    assert blended[0, 0] == 1.0


def test_arrays_that_are_not_sound_or_targets_pass_through():
    batch = random_batch()
    mixed = run(mix.random_mixup, batch, name="mel", probability=1.0, alpha=2.0)
    assert np.array_equal(mixed["index"], batch["index"])
    assert set(mixed) == set(batch)
